"""Clients that record or fail, and one request served as a server does: for tests of live metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from werkzeug.test import EnvironBuilder

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Sent(NamedTuple):
    """One call of the client."""

    name: str
    value: float
    tags: dict[str, str]
    sample_rate: float | None


class Recorder:
    """A client that keeps what it is told."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def timing(
        self, metric: str, value: float, tags: list[str] | None = None, sample_rate: float | None = None
    ) -> None:
        pairs = (tag.partition(":") for tag in tags or ())
        self.sent.append(Sent(metric, value, {key: text for key, _, text in pairs}, sample_rate))

    distribution = timing

    @property
    def walls(self) -> list[Sent]:
        return [each for each in self.sent if not each.name.endswith(".cpu")]

    @property
    def cpus(self) -> list[Sent]:
        return [each for each in self.sent if each.name.endswith(".cpu")]

    @property
    def tags(self) -> list[dict[str, str]]:
        return [each.tags for each in self.walls]


class Broken:
    """A client that fails."""

    def timing(self, *_: object) -> None:
        raise RuntimeError("no such metric")


def served(
    app: Callable[..., Any], path: str = "/", method: str = "GET", **environ: Any
) -> tuple[bytes, str, dict[str, Any]]:
    """Serve one request as a WSGI server does; its body, its status and the environ it was given."""
    given = EnvironBuilder(path=path, method=method).get_environ() | environ
    started: list[str] = []
    body = app(given, lambda status, *_: started.append(status))
    try:
        return b"".join(body), started[0], given
    finally:
        if hasattr(body, "close"):
            body.close()
