"""Remember what was worked out, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Remembered(dict[_Key, _Value]):
    """A dictionary that works out what it lacks, and starts afresh rather than hold more than `most`.

    A key that is not `short`, where that is asked, is worked out each time.
    """

    def __init__(
        self, work_out: Callable[[_Key], _Value], most: int, short: Callable[[_Key], bool] | None = None
    ) -> None:
        super().__init__()
        self._work_out, self._most, self._short = work_out, most, short

    def __missing__(self, key: _Key) -> _Value:
        value = self._work_out(key)
        if self._short is None or self._short(key):
            if len(self) >= self._most:
                self.clear()
            self[key] = value
        return value
