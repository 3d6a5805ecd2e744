"""What `--since` and `--until` take: a moment, absolute or before now, in unix seconds."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from logstatsd.errors import OptionError
from logstatsd.model.batch import Window

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"today": 0, "yesterday": 1, "tomorrow": -1}


def moment(text: str, now: datetime) -> float:
    """Unix seconds of a moment: ISO 8601, `-15m`, `yesterday`, `now`. Raises OptionError.

    `now` is aware of its offset, which is also that of a moment given without one.
    """
    word = text.strip().lower()
    ago = re.fullmatch(r"-?(\d+)\s*([smhdw])(?: ago)?", word)
    try:
        if ago:
            return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).timestamp()
        if word == "now":
            return now.timestamp()
        if word in _DAYS:
            day = now.replace(hour=0, minute=0, second=0, microsecond=0)
            return (day - timedelta(days=_DAYS[word])).timestamp()
        given = datetime.fromisoformat(text.strip())
        return (given if given.tzinfo else given.replace(tzinfo=now.tzinfo)).timestamp()
    except (ValueError, OverflowError):
        raise OptionError(
            f"{text!r} is no time: give ISO 8601 as 2026-11-22T13:00, or -15m, -2h, -1d, today, yesterday"
        ) from None


def window(since: str | None, until: str | None, now: datetime) -> Window | None:
    """The window between two moments, None where neither is given. Raises OptionError."""
    if since is None and until is None:
        return None
    found = Window(
        float("-inf") if since is None else moment(since, now),
        float("inf") if until is None else moment(until, now),
    )
    if found.since_s >= found.until_s:
        raise OptionError(f"--since {since} is not before --until {until}")
    return found
