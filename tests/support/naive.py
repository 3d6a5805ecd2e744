"""A scanner as one would first write it, line by line: the reference that `scan.Scanner` is held to."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from logstatsd.formats.text_reader import parse_line
from logstatsd.formats.times import moment_s
from logstatsd.model.batch import Batch, Pending, Series, Window
from logstatsd.model.route import NOT_THE_APP, Route, Undecided
from logstatsd.sources.lines import LINE_LIMIT

if TYPE_CHECKING:
    from logstatsd.formats.logformat import LogFormat
    from logstatsd.routing.router import Router

REQUEST_LINE = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+) ([^ ?#][^ ]*)(?: HTTP/[0-9][0-9.]*)?")
PER_SECOND = {"whole seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}


def scan(log_format: LogFormat, router: Router, data: bytes, window: Window | None = None) -> Batch:
    """Tally text lines with nothing but `parse_line` and `Router.match`."""
    batch = Batch()
    lines = data.split(b"\n")
    for line in lines[:-1] if data.endswith(b"\n") or not data else lines:
        batch.counts.lines += 1
        _count(log_format, router, line, batch, window)
    return batch


def _count(log_format: LogFormat, router: Router, line: bytes, batch: Batch, window: Window | None) -> None:
    if len(line) > LINE_LIMIT:
        return batch.counts.reject("too long", line)
    values = parse_line(log_format, line)
    if values is None:
        return batch.counts.reject("no match" if line.strip() else "empty", line)
    chosen = {role: values[token.name] for role, token in log_format.chosen.items()}
    if "time" in chosen:
        moment = moment_s(chosen["time"])
        if moment is not None:
            if window and not window.since_s <= moment < window.until_s:
                batch.counts.outside += 1
                return None
            batch.period.extend([moment])
    try:
        duration = _duration_us(chosen.get("duration", b""), log_format.duration_unit)
    except (ValueError, InvalidOperation):
        return batch.counts.reject("bad duration", line)
    route, method = _label(router, chosen, gunicorn=log_format.server == "gunicorn")
    status = int(chosen["status"])
    if isinstance(route, Route):
        tally = batch.timings.setdefault(Series(route, method, status), {})
    else:
        tally = batch.pending.setdefault(Pending(route, method, status), {})
    tally[duration] = tally.get(duration, 0) + 1
    return None


def _label(router: Router, chosen: dict[str, bytes], *, gunicorn: bool) -> tuple[Route | Undecided, str]:
    if "request" in chosen:
        request = REQUEST_LINE.fullmatch(chosen["request"])
        if not request:
            return NOT_THE_APP, "-"
        method, target = request[1], request[2]
    else:
        method, target = chosen["method"], chosen["target"]
        if not method or target in (b"", b"-"):
            return NOT_THE_APP, "-"
    if gunicorn and re.fullmatch(rb"[a-z]+://[^/?#]*", target.partition(b"?")[0]):
        target = b""  # nginx makes `/` of it
    shown = router.clean_method(method.decode("latin-1"))
    if chosen.get("upstream") == b"-":
        return NOT_THE_APP, shown
    return router.match(method.decode("latin-1"), target), shown


def _duration_us(text: bytes, unit: str) -> int | None:
    if text in (b"", b"-"):
        return None
    if unit in PER_SECOND:
        if not text.isdigit():
            raise ValueError(text)
        return int(text) * (1_000_000 // PER_SECOND[unit])
    whole, point, fraction = text.partition(b".")
    if not point or not whole.isdigit() or not fraction.isdigit():
        raise ValueError(text)
    if len(fraction) != (3 if "millisecond" in unit else 6):
        raise ValueError(text)
    return int(Decimal(text.decode()) * 1_000_000)
