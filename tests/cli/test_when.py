"""`--since` and `--until`: which moments they mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from logstatsd.cli.when import moment, window
from logstatsd.errors import OptionError
from logstatsd.model.batch import Window

KOLKATA = timezone(timedelta(hours=5, minutes=30))
NOW = datetime(2026, 11, 22, 1, 30, tzinfo=KOLKATA)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-15m", NOW - timedelta(minutes=15)),
        ("90s", NOW - timedelta(seconds=90)),
        ("-2h", NOW - timedelta(hours=2)),
        ("-1d", NOW - timedelta(days=1)),
        ("1w", NOW - timedelta(weeks=1)),
        ("2h ago", NOW - timedelta(hours=2)),
        ("today", datetime(2026, 11, 22, tzinfo=KOLKATA)),
        ("yesterday", datetime(2026, 11, 21, tzinfo=KOLKATA)),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=KOLKATA)),
        ("2026-11-21T13:00", datetime(2026, 11, 21, 13, tzinfo=KOLKATA)),
        ("2026-11-21 13:00:30", datetime(2026, 11, 21, 13, 0, 30, tzinfo=KOLKATA)),
        ("2026-11-21T13:00Z", datetime(2026, 11, 21, 13, tzinfo=UTC)),
        ("2026-11-21T13:00-08:00", datetime(2026, 11, 21, 21, tzinfo=UTC)),
    ],
)
def test_a_moment_is_absolute_or_before_now_in_the_logs_own_offset(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected.timestamp()


@pytest.mark.parametrize("text", ["", "soon", "13:00", "-5", "-99999999999d", "2026-13-01"])
def test_what_is_no_moment_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(OptionError, match="is no time: give ISO 8601"):
        moment(text, NOW)


def test_a_window_is_open_where_nothing_is_given() -> None:
    assert window(None, None, NOW) is None
    assert window("now", None, NOW) == Window(NOW.timestamp(), float("inf"))
    assert window(None, "now", NOW) == Window(float("-inf"), NOW.timestamp())


@pytest.mark.parametrize(("since", "until"), [("now", "-1h"), ("today", "today")])
def test_a_window_that_nothing_can_be_in_is_refused(since: str, until: str) -> None:
    with pytest.raises(OptionError, match=r"--since .* is not before --until"):
        window(since, until, NOW)
