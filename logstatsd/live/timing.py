"""Time code into StatsD: this process's client, constant tags on a client, wall and CPU time of any block."""

from __future__ import annotations

import atexit
import functools
import inspect
import sys
import threading
import time
from contextlib import ContextDecorator, suppress
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, Self, TypeVar, cast

from logstatsd.delivery.naming import safe_constant_tag, safe_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from datadog.dogstatsd.base import DogStatsd

P = ParamSpec("P")
R = TypeVar("R")

QUEUED_PAYLOADS: Final = 256
"""What waits for an Agent that does not read, at most: some 350 kB over UDP, 2 MB over a Unix socket."""
SEND_TIMEOUT_S: Final = 0.1
EXIT_TIMEOUT_S: Final = 2.0


class Client(Protocol):
    """A receiver of metrics: a `datadog` client, a `StatsD`, or anything with their `timing`."""

    def timing(
        self, metric: str, value: float, tags: list[str] | None = None, sample_rate: float | None = None
    ) -> object: ...


_once: dict[str, Any] = {}


def init_lock() -> AbstractContextManager[object]:
    """Get the lock under which a process makes what it makes once.

    It is itself made at first use: gevent patches after a server has preloaded the app, and greenlets that
    wait for a lock from before that would block all others.
    """
    lock: AbstractContextManager[object] = _once.setdefault("lock", threading.RLock())
    return lock


def default_client() -> DogStatsd:
    """The one client of this process, made when it is first needed."""
    if "client" not in _once:
        with init_lock():
            if "client" not in _once:
                _once["client"] = new_client()
    client: DogStatsd = _once["client"]
    return client


def new_client() -> DogStatsd:
    """A client that no caller ever waits for: destination and constant tags from `DD_*`, flushed at exit.

    Threads of its own resolve names and send, every 0.3 s or as soon as a datagram is full. After a fork it
    starts anew in the child (https://github.com/DataDog/datadogpy#thread-safety).
    """
    # Costs 150 ms, which those who bring a client of their own need not spend.
    from datadog.dogstatsd.base import DogStatsd  # noqa: PLC0415

    client = DogStatsd(
        disable_buffering=False,
        disable_background_sender=False,
        sender_queue_size=QUEUED_PAYLOADS,
        socket_timeout=SEND_TIMEOUT_S,
        # Counts what is dropped, and sends no metrics about itself.
        telemetry_min_flush_interval=cast("int", float("inf")),
    )
    atexit.register(stop, client)
    return client


def stop(client: DogStatsd) -> None:
    """Send what is buffered, for at most two seconds, and end the client's threads."""
    with suppress(Exception):
        if "timeout" in inspect.signature(client.stop).parameters:  # since datadog 0.54
            client.stop(timeout=EXIT_TIMEOUT_S)
        else:
            client.stop()


def thread_cpu_ns() -> int | None:
    """CPU time of this thread so far, or None where the thread is shared by greenlets or coroutines."""
    # Neither is imported here: whoever runs in one has imported it.
    modules = sys.modules
    if "greenlet" in modules and _in_greenlet(modules["greenlet"]):
        return None
    if "asyncio" in modules and _in_coroutine(modules["asyncio"]):
        return None
    return time.thread_time_ns()


def _in_greenlet(greenlet: Any) -> bool:
    getcurrent = getattr(greenlet, "getcurrent", None)  # not there while it is being imported
    return getcurrent is not None and getcurrent().parent is not None


def _in_coroutine(asyncio: Any) -> bool:
    running_loop = getattr(asyncio, "_get_running_loop", None)
    return running_loop is not None and running_loop() is not None


class StatsD:
    """A client with constant tags of its own, where those of a shared `datadog` client would go everywhere.

        orders = StatsD(tags=["team:orders"])
        orders.increment("placed", tags=["market:de"])

    `client` is any `datadog` client, by default this process's own.
    """

    def __init__(self, client: Any = None, *, tags: Iterable[str] = ()) -> None:
        self._client = client
        self._tags = list(tags)

    @property
    def client(self) -> Any:
        """The client that everything is handed to."""
        return default_client() if self._client is None else self._client

    def timing(
        self, metric: str, value: float, tags: Iterable[str] | None = None, sample_rate: float | None = None
    ) -> None:
        """Send one duration, in milliseconds."""
        self.client.timing(metric, value, self._with(tags), sample_rate)

    def distribution(
        self, metric: str, value: float, tags: Iterable[str] | None = None, sample_rate: float | None = None
    ) -> None:
        """Send a value of a distribution, whose percentiles the Agent's backend works out over all hosts."""
        self.client.distribution(metric, value, self._with(tags), sample_rate)

    def count(
        self, metric: str, value: float, tags: Iterable[str] | None = None, sample_rate: float | None = None
    ) -> None:
        """Add to a counter."""
        self.client.count(metric, value, self._with(tags), sample_rate)

    def increment(
        self,
        metric: str,
        value: float = 1,
        tags: Iterable[str] | None = None,
        sample_rate: float | None = None,
    ) -> None:
        """Add one, or `value`, to a counter."""
        self.client.increment(metric, value, self._with(tags), sample_rate)

    def gauge(
        self, metric: str, value: float, tags: Iterable[str] | None = None, sample_rate: float | None = None
    ) -> None:
        """Set a gauge."""
        self.client.gauge(metric, value, self._with(tags), sample_rate)

    def _with(self, tags: Iterable[str] | None) -> list[str]:
        return [*(tags or ()), *self._tags]


class TimingStats(ContextDecorator):
    """Time a block, or each call of a function, as `name` (wall) and `name.cpu`, in milliseconds.

        with TimingStats("checkout.total", tags=["step:payment"]):
            ...

        @TimingStats("checkout.total")
        def total(cart): ...

    The CPU time is that of the thread, so it is left out in greenlets and coroutines. A block that raises is
    timed too; an `async def` is timed until it returns. Whatever the client raises is dropped. An instance
    times one block at a time; a decorated function may run in many threads at once. Afterwards `wall_us` and
    `cpu_us` tell the figures, in microseconds.
    """

    def __init__(
        self,
        name: str,
        *,
        tags: Iterable[str] = (),
        statsd: Client | None = None,
        sample_rate: float = 1.0,
    ) -> None:
        self._name = safe_name(name)
        self._cpu_name = safe_name(name, ".cpu")
        self._tags = [safe_constant_tag(tag) for tag in tags]
        self._statsd = statsd
        self._sample_rate = sample_rate
        self._start_cpu_ns: int | None = None
        self._start_ns = 0
        self.wall_us = 0
        self.cpu_us: int | None = None

    def __enter__(self) -> Self:
        self._start_cpu_ns = thread_cpu_ns()
        self._start_ns = time.perf_counter_ns()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.wall_us = (time.perf_counter_ns() - self._start_ns) // 1000
        end_cpu_ns = None if self._start_cpu_ns is None else thread_cpu_ns()
        self.cpu_us = None
        if self._start_cpu_ns is not None and end_cpu_ns is not None:
            self.cpu_us = (end_cpu_ns - self._start_cpu_ns) // 1000
        with suppress(Exception):
            client = default_client() if self._statsd is None else self._statsd
            client.timing(self._name, self.wall_us / 1000, self._tags, self._sample_rate)
            if self.cpu_us is not None:
                client.timing(self._cpu_name, self.cpu_us / 1000, self._tags, self._sample_rate)

    def __call__(self, func: Callable[P, R]) -> Callable[P, R]:  # type: ignore[override]
        """Decorate a function, or an `async def`."""
        if inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def timed(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._recreate_cm():
                    return await func(*args, **kwargs)

            return cast("Callable[P, R]", timed)
        return super().__call__(func)

    def _recreate_cm(self) -> TimingStats:
        """Make a fresh instance for each call of a decorated function."""
        return TimingStats(self._name, tags=self._tags, statsd=self._statsd, sample_rate=self._sample_rate)
