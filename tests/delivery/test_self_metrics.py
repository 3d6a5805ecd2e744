"""Metrics of logstatsd about itself: what came since the last, and how far it is behind."""

from __future__ import annotations

from collections import Counter

import pytest
from receivers import parse, series

from logstatsd.delivery.encoders.encoder import Totals
from logstatsd.delivery.self_metrics import SelfMetrics
from logstatsd.model.line_counts import LineCounts


def totals(sent: int, dropped: int = 0, unconfirmed: int = 0) -> Totals:
    return Totals(sent + dropped + unconfirmed, sent, dropped, unconfirmed, 0, 1, 0, None)


def found(payload: bytes) -> dict[object, float]:
    """Each metric's value."""
    parsed = map(parse, payload.decode().splitlines())
    return {name: value for name, (value,), _ in parsed}


def test_lines_are_counted_by_outcome_and_timings_by_fate() -> None:
    lines = LineCounts(10, outside=2, rejected=Counter({"no match": 3}))
    assert found(SelfMetrics("dogstatsd").payload(lines, totals(4, 1), lag_s=1.25)) == {
        series("logstatsd.lines", "c", outcome="parsed"): 5,
        series("logstatsd.lines", "c", outcome="outside"): 2,
        series("logstatsd.lines", "c", outcome="rejected"): 3,
        series("logstatsd.timings", "c", fate="sent"): 4,
        series("logstatsd.timings", "c", fate="dropped"): 1,
        series("logstatsd.lag", "g"): 1.25,
    }


def test_only_what_is_new_is_sent() -> None:
    metrics = SelfMetrics("dogstatsd")
    metrics.payload(LineCounts(10), totals(10), None)
    assert found(metrics.payload(LineCounts(25), totals(10, unconfirmed=15), None)) == {
        series("logstatsd.lines", "c", outcome="parsed"): 15,
        series("logstatsd.timings", "c", fate="unconfirmed"): 15,
    }
    assert metrics.payload(LineCounts(25), totals(10, unconfirmed=15), None) == b""


@pytest.mark.parametrize(("lag_s", "value"), [(0.0004, 0), (-3.0, 0), (2.0, 2)])
def test_a_lag_is_never_below_zero(lag_s: float, value: float) -> None:
    sent = SelfMetrics("dogstatsd").payload(LineCounts(), totals(0), lag_s)
    assert found(sent) == {series("logstatsd.lag", "g"): value}


def test_constant_tags_are_on_every_metric() -> None:
    sent = SelfMetrics("dogstatsd", ("env:prod",)).payload(LineCounts(1), totals(1), 0.5)
    assert [line.count("env:prod") for line in sent.decode().splitlines()] == [1, 1, 1]
