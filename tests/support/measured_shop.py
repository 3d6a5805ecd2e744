"""The sample shop, timed live, with the ways to fail that a shop should not have; gunicorn serves `app`.

Each request leaves its own figure in the environ, so that the log can have it beside the server's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, send_file
from shop import create_app

from logstatsd import StatsdMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.live.middleware import TimedRequest

GUNICORN_MEASURED = (
    '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s'
    " %({logstatsd.cpu_us}e)s %({measured.wall_us}e)s"
)
"""gunicorn's own format with its duration, our CPU time and, for comparison, our duration."""


class Measured(StatsdMiddleware):
    """The middleware, telling the log what it measured."""

    def record(self, exchange: TimedRequest, wall_us: int, cpu_us: int | None) -> None:
        exchange.environ["measured.wall_us"] = str(wall_us)
        super().record(exchange, wall_us, cpu_us)


app = create_app()
# Flask lets an exception of a view escape, so that gunicorn answers.
app.config["PROPAGATE_EXCEPTIONS"] = True


@app.get("/torn/<int:at>/late")
def torn_late(at: int) -> Response:
    """A body that breaks after its first chunk."""
    return Response(chunks(breaks_at=1))


@app.get("/torn/<int:at>/early")
def torn_early(at: int) -> Response:
    """A body that breaks before its first chunk."""
    return Response(chunks(breaks_at=0))


@app.get("/answers/<int:status>")
def answers(status: int) -> Response:
    """Whatever status one likes, in three chunks."""
    return Response(chunks(), status=status)


@app.get("/file")
def file() -> Response:
    """A file, which gunicorn sends by itself."""
    return send_file(__file__, conditional=False)


def chunks(breaks_at: int = 3) -> Iterator[bytes]:
    """Three chunks, or fewer and an error."""
    for number in range(3):
        if number == breaks_at:
            raise RuntimeError("torn")
        yield b"chunk\n"


app.wsgi_app = Measured(app, cpu_header=True)  # type: ignore[method-assign]
