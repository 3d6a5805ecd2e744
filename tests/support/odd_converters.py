"""Converters that Flask serves although they are odd: each in a rule of its own, beside plain ones.

`APP` is the app of them all, `PATHS` are requests for it. `REFUSING` are those that cannot be asked.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import time
from decimal import Decimal
from typing import Any, NoReturn

from flask import Flask, request
from werkzeug.routing import BaseConverter, FloatConverter, IntegerConverter, ValidationError


class NoInit(BaseConverter):
    """Never calls `super().__init__`, so it does not know its map."""

    def __init__(self, *_: Any) -> None:
        pass


class SelfInit(BaseConverter):
    """Passes itself on as the map."""

    def __init__(self, url_map: Any, *args: Any) -> None:
        super().__init__(self, url_map, *args)  # type: ignore[arg-type]


class NoInitChecks(NoInit):
    def to_python(self, value: str) -> str:
        if value == "no":
            raise ValidationError
        return value


class NoInitNumber(IntegerConverter):
    """Lacks the bounds that Werkzeug's own has."""

    def __init__(self, *_: Any) -> None:
        pass

    def to_python(self, value: str) -> int:
        return int(value)


class Refused:
    """An attribute that raises when it is read."""

    def __get__(self, *_: object) -> NoReturn:
        raise SystemExit("not to be read")

    def __set__(self, *_: object) -> None:
        pass


class Raising(IntegerConverter):
    """Cannot be read, but for what a request needs."""

    map = min = num_convert = Refused()  # type: ignore[assignment]

    def to_python(self, value: str) -> int:
        return int(value)


class RaisingBounds(Raising):
    to_python = IntegerConverter.to_python


class InARequest(BaseConverter):
    """Has a `to_python` that is there only while a request is."""

    @property
    def to_python(self) -> Any:  # type: ignore[override]
        return request.path.__add__


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, text: str) -> int:
        return int(text)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


class UnhashableNumber(IntegerConverter):
    num_convert = Unhashable()  # type: ignore[assignment]


class DecimalNumber(FloatConverter):
    num_convert = Decimal  # type: ignore[assignment]


class Huge(IntegerConverter):
    """Has a bound of more digits than Python writes."""

    def __init__(self, url_map: Any) -> None:
        super().__init__(url_map, min=-(10**5000), max=10**5000)


class Endless(FloatConverter):
    def __init__(self, url_map: Any) -> None:
        super().__init__(url_map, max=float("inf"))


class OddDigits(IntegerConverter):
    def __init__(self, url_map: Any) -> None:
        super().__init__(url_map, fixed_digits="2")  # type: ignore[arg-type]


class Groups(BaseConverter):
    regex = r"(a|b)(?P<named>\d*)"


class LooksLikeWerkzeugs(BaseConverter):
    regex = r"(?P<__werkzeug_own>[a-z]+)"


class NoPattern(BaseConverter):
    """Has a regex that is none: every request that comes to it is a 500."""

    regex = "("


class NotText(BaseConverter):
    """Has a regex that is no text; Werkzeug takes it for `7`."""

    def __init__(self, *_: Any) -> None:
        self.regex = 7  # type: ignore[assignment]


class Callable:
    """Is no BaseConverter at all."""

    regex, weight, part_isolating = "[^/]+", 100, True

    def __init__(self, *_: Any) -> None:
        self.to_python = lambda value: value
        self.to_url = str


class Meta(type):
    """Has classes that cannot be asked for their name."""

    @property
    def __name__(cls) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("nameless")


class Nameless(BaseConverter, metaclass=Meta):
    pass


CONVERTERS: dict[str, Any] = {
    repr(kind).rpartition(".")[2].strip("'>").lower(): kind
    for kind in (
        NoInit, SelfInit, NoInitChecks, NoInitNumber, Raising, RaisingBounds, InARequest, UnhashableNumber,
        DecimalNumber, Huge, Endless, OddDigits, Groups, LooksLikeWerkzeugs, NoPattern, NotText, Callable,
        Nameless,
    )
}  # fmt: skip
CONVERTERS["partial"] = functools.partial(NoInit)
VALUES = ("7", "no", "a1", "17", "None", "1.5", "x")


def app_of(converters: dict[str, Any]) -> Flask:
    """An app with a rule for each converter, before and after plain rules."""
    app = Flask("odd", static_folder=None)
    app.url_map.converters.update(converters)
    app.add_url_rule("/plain", "plain", view)
    for name in converters:
        app.add_url_rule(f"/{name}/<{name}:value>", name, view)
        app.add_url_rule(f"/{name}/<{name}:value>/and/<int:n>", f"{name}_and", view)
    app.add_url_rule("/number/<int(min=2):n>", "number", view)
    return app


def view(**_: Any) -> str:
    return "ok"


def paths_of(converters: dict[str, Any]) -> list[str]:
    """Requests for each rule, for values that fit and for some that do not."""
    odd = [
        f"/{name}/{value}{rest}" for name in converters for value in VALUES for rest in ("", "/and/7", "/")
    ]
    return ["/plain", "/number/2", "/number/1", *odd]


# --- converters that refuse to answer --------------------------------------------------------------------


class Exits(BaseConverter):
    def to_python(self, _value: str) -> NoReturn:
        sys.exit(3)


class ExitsAtOnce(BaseConverter):
    def to_python(self, _value: str) -> NoReturn:
        os._exit(3)


class Sleeps(BaseConverter):
    def to_python(self, _value: str) -> NoReturn:
        while True:
            time.sleep(3600)


class Spins(BaseConverter):
    def to_python(self, _value: str) -> NoReturn:
        while True:
            pass


class Recurses(BaseConverter):
    def to_python(self, value: str) -> str:
        return self.to_python(value)


class RecursesDeeply(BaseConverter):
    def to_python(self, value: str) -> str:
        sys.setrecursionlimit(10**9)
        return self.to_python(value)


class Allocates(BaseConverter):
    def to_python(self, _value: str) -> NoReturn:
        held = []
        while True:
            held.append(bytes(1 << 24))


class IsKilled(BaseConverter):
    def to_python(self, _value: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class IsStopped(BaseConverter):
    def to_python(self, _value: str) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class Crashes(BaseConverter):
    def to_python(self, _value: str) -> None:
        ctypes.string_at(0)


class Interrupts(BaseConverter):
    def to_python(self, _value: str) -> NoReturn:
        raise KeyboardInterrupt


class ClosesAll(BaseConverter):
    def to_python(self, value: str) -> str:
        os.closerange(0, 1_000)
        return value


class KillsItsGroup(BaseConverter):
    def to_python(self, _value: str) -> None:
        os.killpg(0, signal.SIGKILL)


class Good(BaseConverter):
    """Answers, however the others behave."""

    def to_python(self, value: str) -> str:
        if value == "no":
            raise ValidationError
        return value


REFUSING: dict[str, Any] = {
    kind.__name__.lower(): kind
    for kind in (
        Exits, ExitsAtOnce, Sleeps, Spins, Recurses, RecursesDeeply, Allocates, IsKilled, IsStopped, Crashes,
        Interrupts, ClosesAll, KillsItsGroup,
    )
}  # fmt: skip


def refusing_app() -> Flask:
    """An app with a rule for each of REFUSING, alone and beside a converter that answers."""
    app = Flask("refusing", static_folder=None)
    app.url_map.converters.update(REFUSING, good=Good)
    app.add_url_rule("/good/<good:value>", "good", view)
    for name in REFUSING:
        app.add_url_rule(f"/{name}/<{name}:value>", name, view)
        app.add_url_rule(f"/both/{name}/<good:value>/<{name}:other>", f"both_{name}", view)
    return app


app, refusing = app_of(CONVERTERS), refusing_app()
