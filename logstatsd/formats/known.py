"""KnownFormats: the formats of one log, and the search for the next where its lines stop fitting."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from logstatsd.formats.logformat import LogFormat

MISFITS_LOOKED_AT = 64
"""About how many of the lines that do not fit, spread out, the search looks at."""
PEEKED_BYTES = 2_048
"""How much of a chunk tells in which of the known formats it begins."""
MOST_FORMATS = 8
"""A log in more formats than these is none that a server wrote."""
CONVINCING = 3
"""So many lines of a format are no accident, whatever stands around them; fewer must be half of all."""


class FormatChoice(NamedTuple):
    """The beginning of reading a log: in which format, and whether others may follow. It pickles small.

    `fixed` is for a format that the user gave. `roles` are taken from other variables than the usual ones, in
    every format that has them. Without a `first` one, the first lines that fit any format tell.
    """

    first: LogFormat | None
    fixed: bool = False
    roles: tuple[tuple[str, str], ...] = ()


class KnownFormats:
    """The formats met so far in one log, in the order of their coming."""

    def __init__(self, choice: FormatChoice) -> None:
        self._choice = choice
        self.formats: list[LogFormat] = [choice.first] if choice.first else []

    def likeliest(self, data: bytes) -> LogFormat | None:
        """The format that most of the first lines of a chunk fit; None where none is known yet."""
        if len(self.formats) < 2:
            return self.formats[0] if self.formats else None
        peek = data[:PEEKED_BYTES]
        block = peek[: peek.rfind(b"\n") + 1]
        if not block:
            return self.formats[0]
        return max(self.formats, key=lambda log_format: _detection().count_fitting(log_format, block))

    def find(self, lines: Sequence[bytes]) -> LogFormat | None:
        """Look for a further format in lines that fit none of those known; it is known from then on.

        None for garbage: a format must fit half of the lines looked at, or CONVINCING many.
        """
        lines = [line for line in lines if line.strip()]
        lines = lines[:: len(lines) // MISFITS_LOOKED_AT + 1]
        if self._choice.fixed or not lines or len(self.formats) >= MOST_FORMATS:
            return None
        try:
            found = _detection().detect(b"\n".join(lines) + b"\n", "", fields=dict(self._choice.roles))
        except FormatError:
            return None
        preset = _detection().FORMATS.get(found.log_format.name)
        vague = preset is not None and preset.share < 1
        if vague or (found.fitting < CONVINCING and 2 * found.fitting < found.looked_at):
            return None
        log_format = self._with_roles(found.log_format)
        if log_format in self.formats:
            return None
        self.formats.append(log_format)
        return log_format

    def _with_roles(self, log_format: LogFormat) -> LogFormat:
        for role, name in self._choice.roles:
            try:
                assigned = log_format.assign(role, name)
                assigned.validate()
            except FormatError:  # this format has no such variable
                continue
            log_format = assigned
        return log_format


def _detection() -> ModuleType:
    """The module that detects formats: heavy, and most workers never need it."""
    return import_module("logstatsd.formats.detect")
