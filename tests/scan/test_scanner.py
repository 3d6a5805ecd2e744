"""The hot loop counts what a line-by-line scanner counts, however the bytes are cut."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter

import naive
import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLE_LOGS
from sample import line

from logstatsd.formats.detect import detect
from logstatsd.formats.logformat import LogFormat, parse_layout
from logstatsd.formats.presets import FORMATS
from logstatsd.formats.times import moment_s
from logstatsd.model.batch import Batch, Window
from logstatsd.model.line_counts import SAMPLES
from logstatsd.scan.scanner import Misfit, Scanner, slices, without_long_lines
from logstatsd.sources.lines import LINE_LIMIT

TEXT_LOGS = ["nginx.log", "gunicorn.log", "gunicorn_default.log"]
NGINX = FORMATS["nginx"].log_format
LAYOUTS = [
    FORMATS[name].log_format.layout
    for name in ("nginx", "nginx-upstream-addr", "gunicorn", "gunicorn-ms", "combined", "nginx-main-timed")
] + [
    "$request_method $request_uri $status $request_time $time_iso8601",
    '$msec|$upstream_addr|"$request"|$status|$request_time',
    '%(L)s %(s)s "%(r)s" %(t)s "%(a)s"',
]  # fmt: skip


def same(one: Batch, other: Batch) -> None:
    """Equal in all but the samples, which are some of many."""
    for name in ("timings", "pending", "cpu", "period"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("lines", "outside", "parsed", "rejected"):
        assert getattr(one.counts, name) == getattr(other.counts, name), name


def added(batches: list[Batch]) -> Batch:
    """Batches add up."""
    total = Batch()
    for batch in batches:
        total.counts.lines += batch.counts.lines
        total.counts.outside += batch.counts.outside
        total.counts.rejected.update(batch.counts.rejected)
        total.period.add(batch.period)
        for mine, theirs in ((total.timings, batch.timings), (total.pending, batch.pending)):
            for series, durations in theirs.items():  # type: ignore[attr-defined]
                mine[series] = dict(Counter(mine.get(series, {})) + Counter(durations))  # type: ignore[index, attr-defined]
    return total


@pytest.mark.parametrize("name", TEXT_LOGS)
def test_a_recorded_log_is_counted_as_by_hand(name: str) -> None:
    data = (SAMPLE_LOGS / name).read_bytes()
    log_format = detect(data, name).log_format
    if log_format.server == "gunicorn":  # its refusals and its ambiguities take a look at the whole line
        lines = data.splitlines(keepends=True)
        data = b"".join(part for part in lines if b'" 400 0 "-" "-"' not in part and b'\\" ' not in part)
    same(Scanner(log_format, sample.router()).scan(data), naive.scan(log_format, sample.router(), data))


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_random_and_mutated_lines_are_counted_as_by_hand(layout: str, seed: int) -> None:
    log_format, chance = parse_layout(layout), random.Random(seed)
    lines = [_rendered(log_format, chance) for _ in range(30)]
    lines += [_mutated(chance.choice(lines), chance) for _ in range(30)]
    data = b"\n".join(lines) + b"\n" * chance.randrange(2)
    ours = Scanner(log_format, sample.router()).scan(data)
    theirs = naive.scan(log_format, sample.router(), data)
    if log_format.server == "gunicorn":  # there, a second look may save a line that the first rejects
        assert ours.counts.lines == theirs.counts.lines
        assert ours.counts.parsed >= theirs.counts.parsed
    else:
        same(ours, theirs)


VALUES = {
    "request": ["GET /health HTTP/1.1", "POST /api/orders/ HTTP/1.1", "-", "GET /api/products/7?x=1"],
    "r": ["GET /health HTTP/1.1", "HEAD / HTTP/1.1", "GET /wp-login.php HTTP/1.1"],
    "status": ["200", "404", "500"], "s": ["200", "302"],
    "request_time": ["0.000", "1.234", "-", "x", "-0.100"], "upstream_response_time": ["0.010, 0.020", "-"],
    "upstream_addr": ["127.0.0.1:8000", "-", "unix:/run/a.sock"],
    "time_local": ["22/Nov/2026:13:25:15 +0000"], "t": ["[22/Nov/2026:13:25:15 +0100]"],
    "time_iso8601": ["2026-11-22T13:25:15+00:00"], "msec": ["1795353915.123"],
    "request_method": ["GET", "PUT"], "request_uri": ["/", "/about/", "/a%20b"],
    "D": ["17", "123456", "nan"], "M": ["3"], "L": ["0.000123"],
}  # fmt: skip


def _rendered(log_format: LogFormat, chance: random.Random) -> bytes:
    return b"".join(
        token.encode()
        if isinstance(token, str)
        else chance.choice(VALUES.get(token.name, ["-", "7"])).encode()
        for token in log_format.tokens
    )


def _mutated(text: bytes, chance: random.Random) -> bytes:
    """Bytes cut, doubled, swapped or replaced; never a newline, that would be another line."""
    a, b = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
    noise = bytes(chance.choice(b'\x00 "[]\\-?#%/\xffGET1.') for _ in range(chance.randrange(4)))
    return chance.choice([text[:a], text[b:], text[:a] + noise + text[b:], text[:b] + text[a:], noise])


@settings(max_examples=50)
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_batches_add_up_however_the_log_is_cut(cuts: list[int]) -> None:
    lines = (SAMPLE_LOGS / "nginx.log").read_bytes().splitlines(keepends=True)[:400]
    edges = [0, *sorted(cuts), len(lines)]
    scanner = Scanner(NGINX, sample.router())
    parts = [scanner.scan(b"".join(lines[a:b])) for a, b in itertools.pairwise(edges)]
    same(added(parts), Scanner(NGINX, sample.router()).scan(b"".join(lines)))


def test_a_line_above_the_limit_is_rejected_and_its_neighbours_are_not() -> None:
    data = line() + line("/" + "x" * LINE_LIMIT) + line() + b"y" * (3 * LINE_LIMIT)
    batch = Scanner(NGINX, sample.router()).scan(data)
    assert (batch.counts.lines, batch.counts.parsed, dict(batch.counts.rejected)) == (4, 2, {"too long": 2})


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from([0, 1, 100, LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, 3 * LINE_LIMIT]), max_size=8
    )
)
def test_lines_up_to_the_limit_stay(lengths: list[int]) -> None:
    block = b"".join(b"x" * length + b"\n" for length in lengths)
    refused: list[Misfit] = []
    left = without_long_lines(block, 0, refused)
    assert left == b"".join(b"x" * length + b"\n" for length in lengths if length <= LINE_LIMIT)
    assert [len(each.line) - 1 for each in refused] == [each for each in lengths if each > LINE_LIMIT]


KINDS = {
    "fits": line(),
    "no match": b"junk\n",
    "empty": b"\n",
    "bad duration": line(took="nan"),
    "too long": line("/" + "x" * LINE_LIMIT),
}


@settings(max_examples=60)
@given(st.lists(st.sampled_from([*KINDS]), max_size=20))
def test_misfits_have_the_number_of_their_line_in_the_chunk(kinds: list[str]) -> None:
    misfits: list[Misfit] = []
    batch = Scanner(NGINX, sample.router()).scan(b"".join(KINDS[kind] for kind in kinds), misfits)
    assert [(each.number, each.reason) for each in misfits] == [
        (number, kind) for number, kind in enumerate(kinds) if kind != "fits"
    ]
    assert batch.counts.lines == batch.counts.parsed == kinds.count("fits")


@given(st.lists(st.integers(0, 300_000), max_size=5), st.booleans())
@settings(max_examples=30)
def test_slices_are_the_data_and_end_in_newlines(lengths: list[int], ended: bool) -> None:
    data = b"\n".join(b"x" * length for length in lengths) + b"\n" * ended
    parts = list(slices(data))
    assert all(part.endswith(b"\n") for part in parts)
    assert b"".join(parts) in (data, data + b"\n")


def test_why_lines_are_rejected() -> None:
    data = (
        line()
        + b"\n"
        + b"   \n"
        + b"garbage\n"
        + line(took="nan")
        + line(took="-1.000")
        + line(took="9" * 30)
    )
    batch = Scanner(NGINX, sample.router()).scan(data)
    assert dict(batch.counts.rejected) == {"empty": 2, "no match": 1, "bad duration": 3}
    assert batch.counts.parsed == 1
    assert ("no match", b"garbage") in batch.counts.samples


@pytest.mark.measured
def test_a_log_of_nothing_but_bad_durations_costs_no_pass_for_each() -> None:
    data = b"".join(line(took=f"x{n}") for n in range(20_000))[:-1]  # the last line has no newline
    began = time.process_time()
    batch = Scanner(NGINX, sample.router()).scan(data)
    assert dict(batch.counts.rejected) == {"bad duration": 20_000}
    assert len(batch.counts.samples) == SAMPLES
    assert time.process_time() - began < 2  # a pass for each takes several times that
    last = Scanner(NGINX, sample.router()).scan(line(took="x")[:-1])
    assert last.counts.samples[0][1].endswith(b" x")


def test_a_request_without_a_duration_counts_but_is_not_timed() -> None:
    batch = Scanner(NGINX, sample.router()).scan(line(took="-"))
    assert [list(durations.items()) for durations in batch.timings.values()] == [[(None, 1)]]


def test_a_log_with_cpu_times_alone_counts_its_requests() -> None:
    log_format = parse_layout('"%(r)s" %(s)s %({logstatsd.cpu_us}e)s')
    batch = Scanner(log_format, sample.router()).scan(b'"GET /health HTTP/1.1" 200 1500\n' * 2)
    assert [list(durations.items()) for durations in batch.timings.values()] == [[(None, 2)]]
    assert [list(durations.items()) for durations in batch.cpu.values()] == [[(1500, 2)]]


def test_what_the_server_answered_by_itself_is_not_the_apps() -> None:
    batch = Scanner(NGINX, sample.router()).scan(
        line().replace(b"GET /health HTTP/1.1", b"-")
        + line().replace(b"GET /health HTTP/1.1", rb"\x16\x03\x01")
    )
    assert {(series.route.rule, series.method) for series in batch.timings} == {("(not the app)", "-")}


def test_a_window_is_half_open() -> None:
    moment = moment_s(b"22/Nov/2026:13:25:20 +0000")
    assert moment is not None
    data = b"".join(line(second=second) for second in range(15, 26))
    batch = Scanner(NGINX, sample.router(), window=Window(moment, moment + 3)).scan(data)
    assert (batch.counts.lines, batch.counts.parsed, batch.counts.outside) == (11, 3, 8)
    assert (batch.period.first_s, batch.period.last_s) == (moment, moment + 2)


def test_buckets_split_a_series_by_time() -> None:
    data = b"".join(line(second=second) for second in (10, 19, 20))
    batch = Scanner(NGINX, sample.router(), bucket_s=10).scan(data)
    assert sorted((series.at_s or 0) % 60 for series in batch.timings) == [10, 20]
    assert all((series.at_s or 0) % 10 == 0 for series in batch.timings)


def test_a_flood_of_distinct_targets_is_counted_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logstatsd.scan.labels.MAX_LABELS", 100)
    scanner = Scanner(NGINX, sample.router())
    for part in range(5):
        batch = scanner.scan(b"".join(line(f"/x{part}-{n}") for n in range(500)))
        assert {series.route.rule for series in batch.timings} == {"(unmatched)"}
    assert len(scanner.labels._remembered) <= 100
