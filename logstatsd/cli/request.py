"""Request: what a replay was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.delivery.encoders import ENCODERS

if TYPE_CHECKING:
    from logstatsd.cli.destination import DestinationOptions, MetricOptions
    from logstatsd.cli.options import AppOptions, FormatOptions, RunOptions


BATCH_LINES = 10_000
"""Lines to a Batch of a replay: what a crash may send twice."""


class Telling(NamedTuple):
    """How the outcome is told: as JSON too, on stderr at all, and of what was only printed."""

    as_json: bool = False
    quiet: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Request:
    """What a replay was asked for."""

    app: AppOptions
    formats: FormatOptions
    lines: RunOptions
    destination: DestinationOptions
    metrics: MetricOptions
    telling: Telling
    speed: float | None = None

    @property
    def bucket_s(self) -> int:
        """How finely time must be kept, in seconds; 0 for not at all."""
        return ENCODERS[self.metrics.chosen_encoder].bucket_s or (1 if self.speed else 0)
