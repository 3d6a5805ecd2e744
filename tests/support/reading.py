"""Reads lines the way the commands do, for tests that look at single requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from logstatsd.formats.detect import choices
from logstatsd.formats.known import FormatChoice
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.scan.entries import Entry, StretchReader

if TYPE_CHECKING:
    from logstatsd.formats.logformat import LogFormat

NO_RULES = Router(apps.from_object(Flask("app", static_folder=None)).snapshot())


def choose(text: str) -> LogFormat:
    """The format that `--log-format` names or spells out; of several, the first."""
    return choices(text)[0][0]


def entries(log_format: LogFormat, data: bytes) -> list[Entry]:
    """Every line of `data` in a format, rejected ones too."""
    reader = StretchReader(FormatChoice(log_format, fixed=True), NO_RULES)
    return [entry for entry, _ in reader.entries(data)]


def entry(log_format: LogFormat, line: bytes) -> Entry:
    """One line in a format."""
    (found,) = entries(log_format, line.rstrip(b"\n") + b"\n")
    return found
