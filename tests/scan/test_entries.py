"""Entries, a line each: they agree with the tally of the same lines, and are JSON."""

from __future__ import annotations

import json
from collections import Counter

import sample
from hypothesis import given, settings
from hypothesis import strategies as st
from sample import line

from logstatsd.formats.known import FormatChoice
from logstatsd.formats.presets import FORMATS
from logstatsd.model.route import Route
from logstatsd.scan.entries import StretchReader
from logstatsd.scan.jsonlines import as_line
from logstatsd.scan.scanner import Scanner
from logstatsd.sources.lines import LINE_LIMIT

NGINX = FORMATS["nginx"].log_format


KINDS = [
    line(), line("/nope", 404), line(took="-"), line(took="nan"), line().replace(b"\n", b"\r\n"),
    b"\n", b"junk\n", b"x" * (LINE_LIMIT + 1) + b"\n", line("/" + "x" * (3 * LINE_LIMIT)),
]  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.sampled_from(KINDS), max_size=12), st.booleans(), st.integers(0, 10**12))
def test_entries_and_tallies_agree_on_every_mix(lines: list[bytes], ended: bool, offset: int) -> None:
    data = b"".join(lines)
    data = data if ended else data.removesuffix(b"\n")
    entries = [
        entry for entry, _ in StretchReader(FormatChoice(NGINX), sample.router()).entries(data, offset)
    ]
    batch = Scanner(NGINX, sample.router()).scan(data)
    assert [entry.offset - offset for entry in entries] == [
        sum(map(len, lines[:n])) for n in range(len(data.splitlines()))
    ]
    assert Counter(entry.rejected for entry in entries if entry.rejected) == batch.counts.rejected
    counts = {(one.route, one.method, one.status): sum(n.values()) for one, n in batch.timings.items()}
    assert Counter((e.route, e.method, e.status) for e in entries if not e.rejected) == counts


@given(st.text(), st.text(), st.binary(max_size=50))
def test_every_object_is_json_on_one_line(path: str, rule: str, target: bytes) -> None:
    ((entry, _),) = StretchReader(FormatChoice(NGINX), sample.router()).entries(line())
    text = as_line(path, entry._replace(target=target), Route(rule, rule, "matched"), target=True)
    assert text.count("\n") == 1
    assert text.isascii()
    assert json.loads(text)["rule"] == rule
    assert json.loads(text)["file"] == path
