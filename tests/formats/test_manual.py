"""docs/formats.md has the tables that the code has. To write them: python tests/formats/test_manual.py"""

from __future__ import annotations

import re

import pytest
from places import ROOT

from logstatsd.errors import FormatError
from logstatsd.formats.detect import JSON_KEYS
from logstatsd.formats.envelopes import ENVELOPES
from logstatsd.formats.logformat import parse_layout
from logstatsd.formats.presets import FORMATS

MANUAL = ROOT / "docs" / "formats.md"


def cell(text: str) -> str:
    """A Markdown cell of code."""
    return f"`{text}`".replace("|", "\\|")


def layout(name: str) -> str:
    """A format string, in terms of the well known one that it extends."""
    text = FORMATS[name].log_format.layout.replace("$logstatsd_", "…")
    for base in ("combined", "gunicorn-default", "apache-combined", "common"):
        known = FORMATS[base].log_format.layout
        if base != name and known in text:
            before, _, after = text.partition(known)
            return " ".join(
                [cell(before.strip())] * bool(before) + [base] + [cell(after.strip())] * bool(after)
            )
    return cell(text)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES = {
    "formats": table(
        ("name", "format", "durations from"),
        [
            (
                cell(name),
                layout(name),
                preset.log_format.duration_source.replace("|", "\\|") or "none",
            )
            for name, preset in FORMATS.items()
        ],
    ),
    "json": table(
        ("role", "keys"),
        [(role, " ".join(cell(key) for key, _ in keys)) for role, keys in JSON_KEYS.items()],
    ),
    "envelopes": table(
        ("name", "what", "a line"),
        [
            (cell(name), envelope.about, cell(envelope.sample.replace("\x1b", "\\x1b")))
            for name, envelope in ENVELOPES.items()
        ],
    ),
}


def between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n)(.*?)(<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_the_manual_has_the_tables_of_the_code(name: str) -> None:
    ((_, found, _),) = between(name).findall(MANUAL.read_text())

    assert found.strip() == TABLES[name], "run: python tests/formats/test_manual.py"


def test_every_format_string_in_the_manual_is_understood() -> None:
    given = re.findall(r"--log-format '([^']+)'", MANUAL.read_text())

    assert len(given) >= 4
    for layout in given:
        try:
            assert parse_layout(layout).duration_source
        except FormatError as error:
            pytest.fail(f"{layout}: {error}")


def test_every_name_in_the_manual_is_known() -> None:
    for name in re.findall(r"--log-format (?:\w+:)?([a-z][\w-]+)`", MANUAL.read_text()):
        assert name in FORMATS


if __name__ == "__main__":
    text = MANUAL.read_text()
    for name, rendered in TABLES.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n\n{rendered}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    MANUAL.write_text(text)
