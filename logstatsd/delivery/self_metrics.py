"""Metrics of logstatsd about itself: lines by outcome, timings by fate, and how far it is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logstatsd.delivery.dialects import DIALECTS
from logstatsd.delivery.naming import Metric, safe_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logstatsd.delivery.encoders.encoder import Totals
    from logstatsd.model.line_counts import LineCounts


class SelfMetrics:
    """Payloads of what has come since the last: counts `logstatsd.lines` and `logstatsd.timings`, and the
    gauge `logstatsd.lag` in seconds.
    """

    def __init__(self, dialect: str, constant_tags: tuple[str, ...] = ()) -> None:
        self._encode = DIALECTS[dialect].encode
        self._tags = constant_tags
        self._last: dict[tuple[str, str], int] = {}

    def payload(self, lines: LineCounts, totals: Totals, lag_s: float | None) -> bytes:
        """The metrics as lines of the dialect."""
        found = {("lines", f"outcome:{outcome}"): count for outcome, count in _outcomes(lines).items()}
        found |= {("timings", f"fate:{fate}"): count for fate, count in _fates(totals).items()}
        written = list(self._written("c", self._new(found)))
        if lag_s is not None:
            written += self._written("g", {("lag", ""): max(round(lag_s, 3), 0)})
        return b"".join(written)

    def _new(self, found: dict[tuple[str, str], int]) -> dict[tuple[str, str], float]:
        new: dict[tuple[str, str], float] = {
            key: count - self._last.get(key, 0)
            for key, count in found.items()
            if count > self._last.get(key, 0)
        }
        self._last = found
        return new

    def _written(self, letters: str, values: Mapping[tuple[str, str], float]) -> Iterator[bytes]:
        for (name, tag), value in values.items():
            tags = (safe_tag(*tag.split(":", 1)),) if tag else ()
            head, tail = self._encode(Metric(f"logstatsd.{name}", tags + self._tags), letters, 1, None)
            yield head + f"{value:g}".encode() + tail


def _outcomes(lines: LineCounts) -> dict[str, int]:
    return {"parsed": lines.parsed, "rejected": lines.rejected.total(), "outside": lines.outside}


def _fates(totals: Totals) -> dict[str, int]:
    return {"sent": totals.sent, "dropped": totals.dropped, "unconfirmed": totals.unconfirmed}
