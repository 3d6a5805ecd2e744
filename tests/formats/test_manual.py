"""docs/formats.md has the tables that the code has, and names only what the code knows."""

from __future__ import annotations

import re

import pytest
from places import DOCS

from logstatsd.errors import FormatError
from logstatsd.formats.logformat import parse_layout
from logstatsd.formats.presets import FORMATS

MANUAL = (DOCS / "formats.md").read_text("utf-8")


def test_the_manual_has_the_tables_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import make_formats

    assert re.findall(r"<!-- (\w+) -->\n\n\|", MANUAL) == list(make_formats.TABLES)
    assert make_formats.rendered(MANUAL) == MANUAL, "run: make docs"


def test_every_format_string_in_the_manual_is_understood() -> None:
    given = re.findall(r"--log-format '([^']+)'", MANUAL)

    assert len(given) >= 4
    for layout in given:
        try:
            assert parse_layout(layout).duration_source
        except FormatError as error:
            pytest.fail(f"{layout}: {error}")


def test_every_name_in_the_manual_is_known() -> None:
    for name in re.findall(r"--log-format (?:\w+:)?([a-z][\w-]+)`", MANUAL):
        assert name in FORMATS
