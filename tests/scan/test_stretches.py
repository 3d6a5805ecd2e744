"""A log whose format changes: every line is tallied in its own format, and each change is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st

from logstatsd.formats.known import MOST_FORMATS, FormatChoice
from logstatsd.formats.presets import FORMATS
from logstatsd.scan.stretches import FIRST_STRETCHES, FormatChanges, Stretches, StretchScanner
from logstatsd.sources.lines import LINE_LIMIT

COMBINED, NGINX, GUNICORN = (FORMATS[name].log_format for name in ("combined", "nginx", "gunicorn"))
UNTIMED, TIMED = (FORMATS[name].sample.encode() + b"\n" for name in ("combined", "nginx"))
JSON = b'{"time":"2026-11-22T13:25:15Z","method":"GET","url":"/health","status":200,"duration_us":7}\n'
JUNK = b"junk\n"
LONG = b"x" * (LINE_LIMIT + 1) + b"\n"
KINDS = {
    "combined": UNTIMED, "nginx": TIMED, "json": JSON,
    "no match": JUNK, "too long": LONG, "empty": b"\n",
}  # fmt: skip

if TYPE_CHECKING:
    from logstatsd.formats.logformat import LogFormat


def scanner(choice: FormatChoice) -> StretchScanner:
    return StretchScanner(choice, sample.router())


def beginnings(stretches: Stretches) -> list[tuple[str, int, int]]:
    """Each stretch's format, its first line and that line's byte."""
    return [(each.log_format.name, each.line, each.offset) for each in stretches.first]


# --- a chunk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [None, COMBINED, NGINX, GUNICORN], ids=str)
def test_lines_count_in_their_own_format_whichever_is_known_at_first(first: None) -> None:
    batch, stretches = scanner(FormatChoice(first)).scan(10 * UNTIMED + 5 * TIMED + 3 * JSON)
    assert (batch.counts.lines, batch.counts.parsed) == (18, 18)
    timed = sum(count for found in batch.timings.values() for us, count in found.items() if us is not None)
    assert timed == 8
    assert beginnings(stretches) == [
        ("combined", 0, 0),
        ("nginx", 10, 10 * len(UNTIMED)),
        ("json", 15, 10 * len(UNTIMED) + 5 * len(TIMED)),
    ]


def test_a_stretch_has_the_time_of_its_first_line() -> None:
    _, stretches = scanner(FormatChoice(None)).scan(3 * UNTIMED + 3 * JSON)
    assert [each.time for each in stretches.first] == [b"22/Nov/2026:13:25:15 +0000", b"2026-11-22T13:25:15Z"]


def test_lines_that_fit_no_format_are_rejected_within_the_stretch_around_them() -> None:
    batch, stretches = scanner(FormatChoice(COMBINED)).scan(
        5 * UNTIMED + 2 * JUNK + UNTIMED + LONG + b"\n" + 4 * TIMED + JUNK
    )
    assert batch.counts.lines == 15
    assert dict(batch.counts.rejected) == {"no match": 3, "too long": 1, "empty": 1}
    assert [(name, line) for name, line, _ in beginnings(stretches)] == [("combined", 0), ("nginx", 10)]


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(["combined", "nginx", "json", "no match", "too long", "empty"]), min_size=1),
    st.sampled_from([None, COMBINED, NGINX]),
)
def test_every_line_of_any_mix_counts_once(kinds: list[str], first: LogFormat | None) -> None:
    lines = [KINDS[kind] for kind in kinds]
    batch, stretches = scanner(FormatChoice(first)).scan(b"".join(lines))
    assert batch.counts.lines == len(lines)
    for reason in ("too long", "empty"):
        assert batch.counts.rejected[reason] == kinds.count(reason)
    for each in stretches.first[1:FIRST_STRETCHES]:
        assert kinds[each.line] == each.log_format.name
        assert sum(map(len, lines[: each.line])) == each.offset


def test_nothing_but_garbage_is_no_stretch_and_each_line_has_its_reason() -> None:
    batch, stretches = scanner(FormatChoice(None)).scan(4 * JUNK + b"\n")
    assert dict(batch.counts.rejected) == {"no match": 4, "empty": 1}
    assert (stretches.first, stretches.last) == ([], None)


def test_a_format_that_was_given_is_the_only_one() -> None:
    batch, stretches = scanner(FormatChoice(COMBINED, fixed=True)).scan(4 * UNTIMED + 4 * TIMED)
    assert (batch.counts.parsed, dict(batch.counts.rejected)) == (4, {"no match": 4})
    assert stretches.last == COMBINED


def test_of_many_stretches_the_first_are_kept_and_the_others_counted() -> None:
    _, stretches = scanner(FormatChoice(None)).scan(20 * (UNTIMED + TIMED))
    assert (len(stretches.first), stretches.more) == (FIRST_STRETCHES, 40 - FIRST_STRETCHES)
    assert stretches.last == NGINX


def test_a_format_that_was_met_is_tried_first_on_the_next_chunk() -> None:
    scans = scanner(FormatChoice(None))
    scans.scan(3 * UNTIMED + 3 * TIMED)
    _, stretches = scans.scan(3 * TIMED + UNTIMED)
    assert beginnings(stretches) == [("nginx", 0, 0), ("combined", 3, 3 * len(TIMED))]


def test_each_part_has_the_lines_of_its_format() -> None:
    _, _, parts = scanner(FormatChoice(COMBINED)).scan_parts(UNTIMED + 3 * TIMED)
    assert [(part.log_format.name, part.data) for part in parts] == [
        ("combined", UNTIMED + 3 * TIMED),
        ("nginx", 3 * TIMED),
    ]


def test_a_role_that_was_asked_for_is_taken_in_every_format_that_has_its_variable() -> None:
    two = FORMATS["nginx-upstream"].sample.encode() + b"\n"
    choice = FormatChoice(None, roles=(("duration", "upstream_response_time"),))
    batch, _ = scanner(choice).scan(3 * UNTIMED + 3 * two)
    (whole,), (upstream,) = (
        {us for found in scan.timings.values() for us in found if us is not None}
        for scan in (scanner(FormatChoice(None)).scan(3 * two)[0], batch)
    )
    assert whole != upstream


def test_a_log_in_ever_new_formats_is_given_up() -> None:
    """A pair of variables in each order and with each separator makes a format of its own."""
    scans = scanner(FormatChoice(None))
    kinds = [FORMATS[name].sample.encode() + b"\n" for name in FORMATS]
    for kind in kinds:
        scans.scan(5 * kind)
    assert len(scans._known.formats) <= MOST_FORMATS


# --- what is told -----------------------------------------------------------------------------------------


def told(changes: FormatChanges, data: bytes, **where: object) -> list[str]:
    batch, stretches = scanner(FormatChoice(None)).scan(data)
    return changes.note("access.log", batch.counts.lines, stretches, **where)  # type: ignore[arg-type]


def test_a_change_is_told_with_its_line_and_its_time() -> None:
    changes = FormatChanges()
    assert told(changes, 4 * UNTIMED) == []
    assert told(changes, 2 * UNTIMED + 3 * TIMED) == [
        "access.log: format changed at line 7 (2026-11-22 13:25:15): combined → nginx"
    ]
    assert changes.current("access.log") == NGINX
    assert changes.formats == [COMBINED, NGINX]
    assert changes.summary() == []


def test_a_change_in_a_log_that_is_read_on_is_told_with_its_byte() -> None:
    changes = FormatChanges()
    changes.begin("access.log", COMBINED)
    assert told(changes, 3 * TIMED, offset=1_000) == [
        "access.log: format changed at byte 1,000 (2026-11-22 13:25:15): combined → nginx"
    ]


def test_a_change_in_a_log_of_which_only_a_part_is_read_is_told_with_its_time_alone() -> None:
    changes = FormatChanges()
    changes.begin("access.log", COMBINED)
    assert told(changes, 3 * TIMED, numbered=False) == [
        "access.log: format changed (2026-11-22 13:25:15): combined → nginx"
    ]


def test_of_many_changes_three_are_told_and_the_others_counted() -> None:
    changes = FormatChanges()
    assert len(told(changes, 10 * (UNTIMED + TIMED))) == FormatChanges.TOLD
    assert changes.summary() == ["access.log: its format changed 19 times in all"]
