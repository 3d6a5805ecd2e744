"""Rules and endpoints that are left out, by their names or by patterns."""

from __future__ import annotations

from batches import series

from logstatsd.model.batch import Batch
from logstatsd.model.filters import Excluded
from logstatsd.model.line_counts import LineCounts
from logstatsd.model.route import Route


def test_a_rule_is_left_out_by_its_own_name_though_it_looks_like_a_pattern() -> None:
    odd = Route("/<any(a, [b]*):x>/", "odd", "matched")
    assert odd in Excluded([odd.rule])


def test_an_excluded_series_takes_its_cpu_time_along() -> None:
    one = Batch(LineCounts(lines=1), timings={series(): {1: 1}}, cpu={series(): {1: 1}})
    assert Excluded(["users.get"]).take_out(one) == 1
    assert not one.timings
    assert not one.cpu
