"""Turn signals into the ways a command ends: at once with its state intact, or after what is at hand."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    Handler = Callable[[int, FrameType | None], None]


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: to be treated as Ctrl-C, not as an app's sys.exit, wherever it strikes."""


def exit_code(error: BaseException) -> int:
    """The exit code of a command that a signal interrupted."""
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C: at once, with the state intact."""

    def end(_number: int, _frame: object) -> None:
        raise Terminated

    with _handling({signal.SIGTERM: end}):
        yield


class Stop:
    """Which signal, if any, asked a run to end."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the run; 0 where no signal ended it."""
        return 128 + self.signal if self.signal else 0


@contextlib.contextmanager
def stoppable(stop: Callable[[], None], reopen: Callable[[], None] | None = None) -> Iterator[Stop]:
    """Call `stop` on the first SIGINT or SIGTERM, for a run that ends after what is at hand.

    A second one is not held back: it ends the run at once. With `reopen`, SIGHUP calls that, and stops too
    where it comes since the terminal is gone at which the run was started.
    """
    asked = Stop()
    terminals = [stream for stream in (0, 1, 2) if os.isatty(stream)]
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def on_stop(number: int, _frame: FrameType | None) -> None:
        asked.signal = number
        signal.signal(number, before[signal.Signals(number)])
        stop()

    def on_hangup(number: int, frame: FrameType | None) -> None:
        if reopen and all(map(os.isatty, terminals)):
            reopen()
        else:
            on_stop(number, frame)

    handlers: dict[signal.Signals, Handler] = {signal.SIGINT: on_stop, signal.SIGTERM: on_stop}
    with _handling(handlers | ({signal.SIGHUP: on_hangup} if reopen else {})):
        yield asked


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    """Install handlers for a while; outside of the main thread, which alone may do that, none."""
    before = {}
    with contextlib.suppress(ValueError):
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
