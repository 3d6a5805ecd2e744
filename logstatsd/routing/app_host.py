"""Serve an app in a forked process: cut off from ours, load the app, answer questions about its routes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
import traceback
from json import dumps, loads
from typing import TYPE_CHECKING, Any, Final, NoReturn

from logstatsd.errors import AppError
from logstatsd.model.route import Route, Undecided
from logstatsd.routing.app_process import ANSWERS, RULE_KEPT, UNPROVEN
from logstatsd.text import one_line

if TYPE_CHECKING:
    import socket

    from logstatsd.routing.app import LoadedApp
    from logstatsd.routing.app_process import Load

MEMORY: Final = 1 << 30
"""How many bytes more than when it was loaded an app may take: what allocates without end fails by itself."""

_RULE: Final = Route("(the rule)", "", "matched")
_BY_ROUTE: Final = {_RULE: RULE_KEPT} | {route: answer for answer, route in ANSWERS.items()}


def host(channel: socket.socket, load: Load, parent: int) -> NoReturn:
    """Be the process; nothing is run after this: no exit handler of the app's, nothing of our caller's."""
    try:
        _detach(channel.fileno(), parent)
        _serve(channel, load)
    except OSError:  # nobody is left to be answered, or the app has closed what is not its own
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _detach(channel: int, parent: int) -> None:
    """Let go of all that is shared with the parent, but for its stderr and the channel to it."""
    gc.freeze()  # what is collected later may think that it still owns a descriptor
    os.setsid()
    _end_with(parent)
    for caught in signal.valid_signals():
        if callable(signal.getsignal(caught)):
            signal.signal(caught, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - locks, logs and pipes that shall not stay open with us
        if int(name) > 2 and int(name) != channel:
            with contextlib.suppress(OSError):
                os.close(int(name))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        stream = open(  # noqa: SIM115 - another thread of the parent may hold the lock of the old one for ever
            number, mode, 1, errors=None if mode == "r" else "backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = sys.argv[:1]  # as a server's, ours say nothing to the app


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, even where the app is busy and reads nothing: on Linux."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(0)


def _serve(channel: socket.socket, load: Load) -> None:
    pid = os.getpid()
    app, greeting = _loaded(load)
    if os.getpid() != pid:  # the app has forked, and this is the copy
        return
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1_000))
    channel.sendall(dumps(greeting).encode() + b"\n")
    if app is None:
        return
    _limit_memory()
    for line in channel.makefile("rb"):
        for asked in loads(line):
            answer = _answer(app, asked)
            if os.getpid() != pid:
                return
            channel.sendall(answer)


def _loaded(load: Load) -> tuple[LoadedApp | None, dict[str, Any]]:
    """The app and what to greet the parent with: the snapshot of its routes, or what went wrong."""
    try:
        _rehearse()
        app = load()
        return app, {"snapshot": app.snapshot()}
    except AppError as error:
        return None, {"error": str(error)}
    except BaseException as error:
        return None, {"failure": f"{type(error).__name__}: {one_line(error)}"}


def _rehearse() -> None:
    """Import all that it takes to load an app, before the app's own modules can stand in the way."""
    from logstatsd.routing import app as apps  # noqa: PLC0415 - brings Flask, which the parent does without

    apps.rehearse()
    given = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]  # noqa: PTH100
    sys.path[:] = [*given, *(path for path in sys.path if path not in given)]


def _answer(app: LoadedApp, asked: list[Any]) -> bytes:
    mount, method, domain, path, websocket, converters = asked
    question = Undecided(mount, method, domain, path, websocket, _RULE, tuple(converters))
    route, proven = app.resolve(question)
    return _BY_ROUTE[route] if proven else UNPROVEN


def _limit_memory() -> None:
    """Have what takes MEMORY more than now raise MemoryError: on Linux, where that can be told."""
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            now = int(file.read().split()[5]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = now + MEMORY if hard == resource.RLIM_INFINITY else min(now + MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
