"""Find the bytes of a log that hold a window of time, by bisection: for logs whose lines are in order."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.sources.compression import PLAIN
from logstatsd.sources.lines import LINE_LIMIT, line_end, line_start, pread

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstatsd.sources.source import Source

# Servers log at the end of a request, from several workers: times are in order but for this much.
JITTER_S = 60.0
PROBES = 32
# How far to look for a line that has a time, before bisection is given up.
UNTIMED_LIMIT = 4 * LINE_LIMIT


def bisect(
    source: Source, key: Callable[[bytes], float | None], since: float | None, until: float | None
) -> tuple[int, int | None]:
    """Find the range of bytes that holds all lines of a time window [since, until), in Unix seconds.

    `key` gives a line's time, None for a line without one. The range is a little wider than the window: times
    may be out of order by JITTER_S. It is the whole log where bisection cannot be trusted: a stream, a
    compressed file, a file whose times, looked at in PROBES places, are not in order. Apache and uWSGI log
    the start of a request at its end: there a request is found only if it took less than JITTER_S.

    Raises InputError.
    """
    if source.stream is not None or source.kind != PLAIN:
        return 0, None
    with source.opened() as fd:
        log = _Timeline(fd, os.fstat(fd).st_size, key)
        try:
            if not log.is_in_order():
                return 0, log.stop
            first = 0 if since is None else log.bracket(since - JITTER_S)[0]
            last = log.stop if until is None else log.bracket(until + JITTER_S)[1]
        except _UntimedError:
            return 0, log.stop
        return first, max(first, last)


class _UntimedError(Exception):
    """Too many lines in a row have no time."""


class _Timeline(NamedTuple):
    fd: int
    stop: int
    key: Callable[[bytes], float | None]

    def line_at(self, position: int) -> tuple[int, float]:
        """Return start and time of the first line at or after `position` that has a time; inf at the end."""
        limit = min(position + UNTIMED_LIMIT, self.stop)
        if position:
            position = line_end(self.fd, position - 1, limit) or limit
        while position < limit:
            end = line_end(self.fd, position, limit) or limit
            time = self.key(pread(self.fd, min(end - position, LINE_LIMIT), position))
            if time is not None:
                return position, time
            position = end
        if limit < self.stop:
            raise _UntimedError
        return self.stop, math.inf

    def is_in_order(self) -> bool:
        last = line_start(self.fd, max(0, self.stop - UNTIMED_LIMIT), self.stop - 1)
        latest = -math.inf
        for position in (*(self.stop * i // PROBES for i in range(PROBES)), last):
            time = self.line_at(position)[1]
            if time < latest - JITTER_S:
                return False
            latest = max(latest, time)
        return True

    def bracket(self, moment: float) -> tuple[int, int]:
        """Return two starts of lines: all before one are earlier than `moment`, none from the other on."""
        before, after = 0, self.stop
        low, high = 0, self.stop
        while high - low > LINE_LIMIT:
            middle = (low + high) // 2
            line, time = self.line_at(middle)
            if time < moment:
                low = before = line
            else:
                high, after = middle, line
        return before, after
