"""The errors a user can cause: each is one line that names the fix, with its exit code."""

from __future__ import annotations


class LogstatsdError(Exception):
    """Base of every error that a command shows as one line; `exit_code` is what the command ends with."""

    exit_code = 1


class OptionError(LogstatsdError, ValueError):
    """An option has a value it cannot take, or does not go with another."""

    exit_code = 2


class AppError(LogstatsdError):
    """The app, or a snapshot of its routes, cannot be loaded."""


class InputError(LogstatsdError):
    """A log cannot be read."""


class FormatError(LogstatsdError, ValueError):
    """A log format is not understood, or no line of a log fits it."""


class UnreachableError(LogstatsdError):
    """The StatsD server cannot be reached; nothing was sent and no checkpoint moved."""

    exit_code = 3


class UndeliveredError(LogstatsdError):
    """Some timings are known not to have been delivered."""

    exit_code = 4


class StateError(LogstatsdError):
    """The checkpoint is not one, or cannot be read or written; it is left as it was."""


class LockedError(LogstatsdError):
    """Another run holds the checkpoint."""

    exit_code = 5
