"""End on signals as users expect: at once, with the state intact."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Terminated(KeyboardInterrupt):
    """SIGTERM has come: to be treated as Ctrl-C, not as an app's sys.exit, wherever it strikes."""


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C: at once, with the state intact."""

    def end(_number: int, _frame: object) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
