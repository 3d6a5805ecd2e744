"""Write the tables of docs/formats.md from the tables of the code: `python docs/make_formats.py`.

What is between `<!-- NAME -->` and `<!-- end -->` is made here; the rest is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from logstatsd.formats.detect import JSON_KEYS
from logstatsd.formats.envelopes import ENVELOPES
from logstatsd.formats.presets import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAGE = Path(__file__).with_name("formats.md")
BASES = ("combined", "gunicorn-default", "apache-combined", "common")
"""Formats by whose names longer ones are written."""


def rendered(page: str) -> str:
    """The page with its made parts made anew."""

    def made(found: re.Match[str]) -> str:
        name = found["name"]
        return f"<!-- {name} -->\n\n{TABLES[name]()}\n\n<!-- end -->"

    return re.sub(r"<!-- (?P<name>\w+) -->\n(?:(?!<!--).*\n)*<!-- end -->", made, page)


def _formats() -> str:
    rows = [
        (_cell(name), _layout(name), _escaped(preset.log_format.duration_source) or "none")
        for name, preset in FORMATS.items()
    ]
    return _table(("name", "format", "durations from"), rows)


def _json_keys() -> str:
    rows = [(role, " ".join(_cell(key) for key, _ in keys)) for role, keys in JSON_KEYS.items()]
    return _table(("role", "keys"), rows)


def _envelopes() -> str:
    rows = [
        (_cell(name), envelope.about, _cell(envelope.sample.replace("\x1b", "\\x1b")))
        for name, envelope in ENVELOPES.items()
    ]
    return _table(("name", "what", "a line"), rows)


TABLES: dict[str, Callable[[], str]] = {"formats": _formats, "json": _json_keys, "envelopes": _envelopes}


def _layout(name: str) -> str:
    """A format string; the name of the base that it extends stands for the base."""
    text = FORMATS[name].log_format.layout.replace("$logstatsd_", "…").replace("\t", "\\t")
    for base in BASES:
        known = FORMATS[base].log_format.layout
        if base != name and known in text:
            before, _, after = text.partition(known)
            parts = [_cell(before.strip())] * bool(before) + [base] + [_cell(after.strip())] * bool(after)
            return " ".join(parts)
    return _cell(text)


def _cell(text: str) -> str:
    return _escaped(f"`{text}`")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *rows))


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text("utf-8")), "utf-8")
