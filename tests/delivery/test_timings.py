"""From Batches to payloads: every value once, exact, marked and counted."""

from __future__ import annotations

import io
import random
from collections import Counter
from itertools import pairwise

import pytest
from batches import USERS, batch, busy_batch, series
from hypothesis import given
from hypothesis import strategies as st
from payloads import Payloads
from receivers import parse

from logstatsd.delivery.encoders.encoder import Packer, Totals
from logstatsd.delivery.encoders.timings import LogClock, TimingEncoder, time_note
from logstatsd.delivery.naming import Naming
from logstatsd.delivery.sink import FileSink
from logstatsd.errors import OptionError
from logstatsd.model.batch import Batch
from logstatsd.model.route import NOT_THE_APP, UNMATCHED, Route


def replayed(*batches: Batch, **options: object) -> tuple[list[str], Totals]:
    """The lines that batches become, and the totals."""
    sink = Payloads()
    sending = TimingEncoder(Naming("shop"), sink, **options)  # type: ignore[arg-type]
    for item in batches:
        sending.add(item)
    totals = sending.finish()
    return sink.lines, totals


def test_every_duration_is_a_line_in_milliseconds() -> None:
    lines, totals = replayed(batch(12_345, 12_345, 500))
    tags = "#http_method:GET,http_status_code:200,endpoint:users.get,url_rule:/users/_int:id_"
    assert Counter(lines) == {
        f"shop.api.request:12.345|ms|{tags}": 2,
        f"shop.api.request:0.5|ms|{tags}": 1,
    }
    assert totals == Totals(
        due=3, sent=3, dropped=0, unconfirmed=0, untimed=0, series=1, folded=0, oldest_s=None
    )


def test_packed_values_share_a_line() -> None:
    lines, totals = replayed(batch(1_000, 2_000, 3_000), pack=True)
    assert [line.partition("|")[0] for line in lines] == ["shop.api.request:1:2:3"]
    assert totals.sent == 3


def test_requests_without_a_duration_are_counted_not_sent() -> None:
    lines, totals = replayed(batch(None, None, 1_000), batch(None))
    assert (len(lines), totals.due, totals.untimed) == (1, 1, 3)


def test_what_the_server_answered_by_itself_is_sent_like_any_other() -> None:
    lines, _ = replayed(batch(1_000, route=NOT_THE_APP, status=400))
    assert lines == ["shop.api.request:1|ms|#http_method:GET,http_status_code:400,url_rule:not_the_app"]


def test_cpu_times_and_endpoints_have_their_own_metrics_and_are_due_too() -> None:
    sink = Payloads()
    sending = TimingEncoder(Naming("shop", per_endpoint=True), sink)
    sending.add(Batch(timings={series(): {1_000: 2}}, cpu={series(): {500: 2}}))
    totals = sending.finish()
    names = Counter(parse(line).series.name for line in sink.lines)
    assert names == {"shop.api.request": 2, "users.get": 2, "shop.api.request.cpu": 2, "users.get.cpu": 2}
    assert (totals.due, totals.sent, totals.series) == (8, 8, 4)


def test_the_otel_scheme_is_a_distribution_in_seconds() -> None:
    sink = Payloads()
    sending = TimingEncoder(Naming("shop", scheme="otel"), sink)
    sending.add(batch(12_345))
    sending.finish()
    assert sink.lines[0].startswith("http.server.request.duration:0.012345|d|#http.request.method:GET")


def test_sampling_sends_its_share_marked_with_the_rate() -> None:
    lines, totals = replayed(busy_batch(10_000), sample_rate=0.25, chance=random.Random(7).random)
    assert totals.due == totals.sent == len(lines)
    assert totals.due == pytest.approx(2_500, rel=0.05)
    assert all("|ms|@0.25|#" in line for line in lines)


def test_series_beyond_the_limit_fold_into_one_and_are_counted() -> None:
    batches = [batch(1_000, 2_000, route=Route(f"/r/{n}", f"r{n}", "matched")) for n in range(5)]
    lines, totals = replayed(*batches, *batches, max_series=3)
    rules = Counter(line.rpartition("url_rule:")[2] for line in lines)
    assert rules == {"/r/0": 4, "/r/1": 4, "/r/2": 4, "overflow": 8}
    assert (totals.series, totals.folded, totals.due) == (4, 8, 20)


def test_constant_tags_of_the_environment_come_last() -> None:
    sink = Payloads("env:prod", "canary")
    sending = TimingEncoder(Naming("shop", tags=("team:web",)), sink)
    sending.add(batch(1_000, route=UNMATCHED))
    sending.finish()
    assert sink.lines[0].endswith("url_rule:unmatched,team:web,env:prod,canary")


def test_a_dry_run_writes_whole_lines_to_a_file() -> None:
    out = io.BytesIO()
    sending = TimingEncoder(Naming("shop"), FileSink(out))
    sending.add(busy_batch(1_000))
    sending.finish()
    assert out.getvalue().count(b"\n") == 1_000
    assert out.getvalue().endswith(b"\n")


@pytest.mark.parametrize("options", [{"sample_rate": 0}, {"sample_rate": 1.5}, {"speed": 0}, {"speed": -1}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="--"):
        TimingEncoder(Naming("shop"), Payloads(), **options)  # type: ignore[arg-type]


durations = st.dictionaries(st.none() | st.integers(0, 10**7), st.integers(1, 300), min_size=1, max_size=30)
batches = st.lists(
    st.dictionaries(
        st.builds(
            series,
            st.sampled_from([USERS, UNMATCHED, Route("/" + "x" * 190, "e" * 190, "matched")]),
            st.sampled_from(["GET", "POST"]),
            st.sampled_from([200, 404]),
        ),
        durations,
        max_size=4,
    ),
    max_size=4,
)


@given(batches, st.booleans())
def test_every_value_arrives_once_and_exactly_in_payloads_that_fit(
    made: list[dict[object, dict[int | None, int]]], pack: bool
) -> None:
    sink = Payloads()
    sending = TimingEncoder(Naming("shop"), sink, pack=pack)
    expected: Counter[tuple[str, str, float]] = Counter()
    for timings in made:
        sending.add(Batch(timings=timings))  # type: ignore[arg-type]
        for (route, method, status, _), tally in timings.items():  # type: ignore[attr-defined]
            for us, count in tally.items():
                if us is not None:
                    expected[f"{route.outcome}{route.endpoint}", f"{method}{status}", us] += count
    totals = sending.finish()
    seen: Counter[tuple[str, str, float]] = Counter()
    for payload, said in zip(sink.payloads, sink.counts, strict=True):
        samples = [parse(line) for line in payload.decode().splitlines()]
        assert sum(len(sample.values) for sample in samples) == said
        assert len(payload) <= sink.payload_bytes
        for sample in samples:
            tags = dict(tag.split(":", 1) for tag in sample.series.tags)
            route = tags["url_rule"] if tags["url_rule"] == "unmatched" else "matched"
            endpoint = tags.get("endpoint", "None")
            for value in sample.values:
                key = (f"{route}{endpoint}", tags["http_method"] + tags["http_status_code"])
                seen[*key, round(value * 1000)] += 1
    assert seen == expected
    assert totals.due == totals.sent == expected.total()


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(20, 200), st.booleans())
def test_a_payload_is_only_closed_when_the_next_line_may_not_fit(
    lengths: list[int], room: int, pack: bool
) -> None:
    sent: list[bytes] = []
    packer = Packer(lambda payload, _: sent.append(payload), room, pack=pack)
    for length in lengths:
        packer.put((b"name:", b"|ms\n"), [b"1" * length])
    packer.flush()
    assert b"".join(sent) == b"".join(b"name:%s|ms\n" % (b"1" * length) for length in lengths)
    for payload, following in pairwise(sent):
        assert len(payload) <= room or payload.count(b"\n") == 1
        assert len(payload) + following.index(b"\n") + 1 > room


# --- the log's own time ---------------------------------------------------------------------------------


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.mark.parametrize(("speed", "took_s"), [(1, 120), (60, 2)])
def test_the_log_is_replayed_at_its_own_pace(speed: float, took_s: float) -> None:
    clock = Clock()
    log = LogClock(speed, lambda: clock.now_s, clock.sleep)
    for at_s in (1_000, 1_060, 1_050, 1_120):
        log.wait_until(at_s)
    assert clock.now_s == took_s


def test_with_a_speed_each_second_of_the_log_is_sent_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, moments = Clock(), []
    monkeypatch.setattr(
        "logstatsd.delivery.encoders.timings.LogClock",
        lambda speed: LogClock(speed, lambda: clock.now_s, clock.sleep),
    )

    class Timed(Payloads):
        def send(self, payload: bytes, values: int) -> None:
            moments.append((round(clock.now_s, 6), values))

    sending = TimingEncoder(Naming("shop"), Timed(), speed=10)
    tally = {series(at_s=1_700_000_000 + after): {1_000: after} for after in (9, 1, 4)}
    sending.add(Batch(timings=tally))  # type: ignore[arg-type]
    assert moments == [(0.0, 1), (0.3, 4), (0.8, 9)]


def test_a_person_is_told_when_old_timings_landed_now() -> None:
    assert time_note(None, now_s=1_000) is None
    assert time_note(800, now_s=1_000) is None
    note = time_note(1_000 - 3_661, now_s=1_000)
    assert note is not None
    assert "1:01:01 old" in note
    assert "--backfill" in note
    assert "--speed" in note


def test_the_oldest_request_is_known() -> None:
    _, totals = replayed(batch(1, at_s=500), batch(1, at_s=300), batch(1, at_s=400), batch(None, at_s=1))
    assert totals.oldest_s == 300
