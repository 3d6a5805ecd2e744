"""The times of lines, as far as they can be believed: which are absurd, and how far a log has come."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKET_S = 10
EARLIEST_S = 631_152_000
"""The year 1990: no web server has logged before."""
FUTURE_S = 86_400
"""How far ahead of now a line may be dated: a wrong offset from UTC is less."""
AHEAD_S = 3_600
"""A log that seems to have moved on by more than this in one step is not believed at once."""
BELIEVED = 100
"""Requests after such a step that make it believed, if no more than that are from before it."""
DAYS_AT_HAND = 8

_BUCKETS_A_DAY = 86_400 // BUCKET_S


def is_plausible(at_s: float, now_s: float) -> bool:
    """Whether a line may have been written at that moment."""
    return EARLIEST_S <= at_s <= now_s + FUTURE_S


class LogProgress:
    """How far a log has come; a few lines with a date far ahead of the others do not count."""

    def __init__(self) -> None:
        self.newest_s: int | None = None
        """The newest bucket that is believed."""
        self._ahead = 0

    def see(self, requests: Mapping[int, int]) -> None:
        """Take in how many requests there are in each bucket, by its start, in the log's next lines."""
        if not requests:
            return
        if self.newest_s is None:
            self.newest_s = _middle(requests)
        limit_s = self._advance(requests, self.newest_s)
        ahead = {start_s: count for start_s, count in requests.items() if start_s > limit_s}
        here = sum(requests.values()) - sum(ahead.values())
        self._ahead = sum(ahead.values()) + (0 if here else self._ahead)
        if ahead and self._ahead >= max(BELIEVED, here):
            self._advance(ahead, _middle(ahead))
            self._ahead = 0

    def _advance(self, requests: Mapping[int, int], newest_s: int) -> int:
        """Go on from bucket to bucket, in steps of at most AHEAD_S; returns what is beyond the next step."""
        for start_s in sorted(requests):
            if newest_s < start_s <= newest_s + AHEAD_S:
                newest_s = start_s
        self.newest_s = newest_s
        return newest_s + AHEAD_S


def _middle(requests: Mapping[int, int]) -> int:
    """The bucket of the request that has as many before it as after it."""
    half = sum(requests.values()) / 2
    for start_s in sorted(requests):
        half -= requests[start_s]
        if half <= 0:
            return start_s
    return max(requests)


class SecondsTaken:
    """How many seconds of each bucket have a point already; days that are not at hand are kept compressed."""

    def __init__(self) -> None:
        self._at_hand: OrderedDict[int, bytearray] = OrderedDict()
        self._packed: dict[int, bytes] = {}

    def take(self, start_s: int) -> int | None:
        """Take the next free second of a bucket; None where all are taken."""
        day, number = divmod(start_s // BUCKET_S, _BUCKETS_A_DAY)
        taken = self._day(day)
        if taken[number] >= BUCKET_S:
            return None
        taken[number] += 1
        return start_s + taken[number] - 1

    def _day(self, day: int) -> bytearray:
        if day not in self._at_hand:
            packed = self._packed.pop(day, None)
            self._at_hand[day] = bytearray(zlib.decompress(packed) if packed else _BUCKETS_A_DAY)
        self._at_hand.move_to_end(day)
        if len(self._at_hand) > DAYS_AT_HAND:
            oldest, taken = self._at_hand.popitem(last=False)
            self._packed[oldest] = zlib.compress(taken)
        return self._at_hand[day]
