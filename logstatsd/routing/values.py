"""Convert the variables of a rule from text to values, as far as matching depends on it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from logstatsd.routing.snapshot import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# int() refuses text of more digits than a limit that can be set, but never below this.
ALWAYS_AN_INT: Final = 640


class RefusedError(Exception):
    """A converter of Werkzeug's own raises ValidationError: no rule matches."""


class FailedError(Exception):
    """A converter of Werkzeug's own raises something else: the app answers 500 with no rule."""


class Value:
    """The conversion of one variable from text to a value, as far as matching depends on it."""

    __slots__ = ("_convert", "_digits", "_error", "_high", "_kind", "_low", "custom", "name", "safe")

    def __init__(self, data: Mapping[str, Any], number_error: type[Exception]) -> None:
        self.name = text_of(data, "name")
        self._kind = text_of(data, "value")
        if self._kind not in {"text", "uuid", "int", "float", "custom"}:
            raise ValueError(f"unknown value {self._kind!r}")
        self.custom = text_of(data, "class") if self._kind == "custom" else ""
        self._low: float | None = _number(data.get("min"))
        self._high: float | None = _number(data.get("max"))
        self._convert: Callable[[str], Any] = {"int": int, "float": float}.get(self._kind, _uuid)
        self._digits = int(data.get("fixed_digits", 0))
        self._error = FailedError if self._kind == "uuid" else number_error
        bounded = bool(self._low is not None or self._high is not None or self._digits)
        #: The length of text up to which this can neither refuse nor need the app.
        self.safe = sys.maxsize
        if self._kind == "custom" or bounded or data.get("may_not_parse", False):
            self.safe = -1
        elif self._kind == "int":
            self.safe = ALWAYS_AN_INT

    def convert(self, text: str) -> Any:
        if self._kind == "text":
            return text
        try:
            if self._digits and len(text) != self._digits:
                raise RefusedError
            value = self._convert(text)
        except ValueError:
            raise self._error from None
        except TypeError:  # the text of a group that took no part
            raise FailedError from None
        if self._low is not None and value < self._low:
            raise RefusedError
        if self._high is not None and value > self._high:
            raise RefusedError
        return value


def _uuid(text: str) -> str:
    from uuid import UUID  # noqa: PLC0415 - an import that few maps need

    return str(UUID(text))


def _number(bound: object) -> float | None:
    if bound is None or isinstance(bound, (int, float)):
        return bound
    raise TypeError(f"a bound is a number, not {bound!r}")
