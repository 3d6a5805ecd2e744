"""Keep an app in a process of its own: what it does stays there, and its converters have a time budget."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

from logstatsd.errors import AppError
from logstatsd.model.route import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED, Route, Undecided

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask.cli import ScriptInfo

    from logstatsd.routing.app import LoadedApp

    Load = Callable[[], LoadedApp]
    OnSlow = Callable[[Undecided, float], None]

CONVERTER_TIMEOUT_S: Final = 1.0
SLOW_S: Final = 1.0
"""How long converters may take in all before `on_slow` is called."""
RELOAD_TIMEOUT_S: Final = 10.0
"""How long an app may take to be loaded again; three times as long as at first, if that is more."""

RULE_KEPT: Final = b"k"
UNPROVEN: Final = b"?"
ANSWERS: Final[dict[bytes, Route]] = {b"u": UNMATCHED, b"m": METHOD_NOT_ALLOWED, b"r": REDIRECT}
"""What a process answers to a question, in one byte each; besides, RULE_KEPT and UNPROVEN keep the rule."""

_TICK_S: Final = 0.25
_GRACE_S: Final = 1.0
_IDLE_GRACE_S: Final = 0.1
_CHUNK: Final = 256
_CHUNK_LENGTH: Final = 1 << 18


def load(
    specs: Sequence[str], *, converter_timeout_s: float = CONVERTER_TIMEOUT_S, on_slow: OnSlow | None = None
) -> AppProcess:
    """Load the app that specs name, as `app.load` does, in a process of its own. Raises AppError."""

    def load_here() -> LoadedApp:
        from logstatsd.routing import app  # noqa: PLC0415 - brings Flask

        return app.load(specs)

    name = ", ".join(specs) or os.environ.get("FLASK_APP") or "the app"
    return AppProcess(load_here, name, converter_timeout_s=converter_timeout_s, on_slow=on_slow)


def from_flask_cli(
    info: ScriptInfo, *, converter_timeout_s: float = CONVERTER_TIMEOUT_S, on_slow: OnSlow | None = None
) -> AppProcess:
    """Load the app that the `flask` command was told of in a process of its own. Raises AppError."""

    def load_here() -> LoadedApp:
        from logstatsd.routing import app  # noqa: PLC0415 - brings Flask

        return app.from_flask_cli(info)

    name = info.app_import_path or "the app"
    return AppProcess(load_here, name, converter_timeout_s=converter_timeout_s, on_slow=on_slow)


class AppProcess:
    """An app, loaded in a forked process that ends with ours.

    A converter that takes longer than `converter_timeout_s`, or that ends its process, has refused to answer:
    the rule is kept, unproven, and rules with that converter are not asked about again. The app is loaded
    afresh for the others. `on_slow` is called once, with the question at hand and the seconds so far, when
    answers have taken a second in all.
    """

    def __init__(
        self,
        load: Load,
        name: str,
        *,
        converter_timeout_s: float = CONVERTER_TIMEOUT_S,
        on_slow: OnSlow | None = None,
    ) -> None:
        self._load, self._name = load, name
        self._converter_timeout_s = converter_timeout_s
        self._on_slow = on_slow
        self._refusing: set[frozenset[str]] = set()
        self._waited_s = 0.0
        self._is_over = False
        started_s = time.monotonic()
        self._process: _Process | None = _Process(load)
        self._snapshot = self._greeting(self._process, float("inf"))
        self._reload_timeout_s = max(RELOAD_TIMEOUT_S, 3 * (time.monotonic() - started_s))
        if not _has_custom(self._snapshot):
            self.close()

    @property
    def app_name(self) -> str:
        """The app's own name."""
        return str(self._snapshot["app_name"])

    def snapshot(self) -> dict[str, Any]:
        """All that a Router needs, as plain data."""
        return self._snapshot

    def close(self) -> None:
        """End the process; what is asked from now on keeps its rule."""
        self._is_over = True
        self._end(_IDLE_GRACE_S)

    def resolve_all(self, questions: Sequence[Undecided]) -> list[tuple[Route, bool]]:
        """Ask the app about each request, and tell whether its answers are proven; never raises."""
        answers: list[tuple[Route, bool]] = []
        started_s = time.monotonic()
        while len(answers) < len(questions):
            chunk = self._chunk(questions, len(answers))
            if chunk:
                got = self._exchange(chunk, started_s)
                for question, answer in zip(chunk, got, strict=False):
                    answers.append(_answer(question, bytes([answer])))
                if len(got) < len(chunk) and not self._is_over:
                    self._refusing.add(frozenset(chunk[len(got)].converters))
            else:
                answers.append((questions[len(answers)].fallback, False))
            self._tell(questions[len(answers) - 1], self._waited_s + time.monotonic() - started_s)
        self._waited_s += time.monotonic() - started_s
        return answers

    def _chunk(self, questions: Sequence[Undecided], first: int) -> list[Undecided]:
        """The questions from the first on that can be asked, up to one that cannot or to what is enough."""
        chunk: list[Undecided] = []
        length = 0
        for at in range(first, min(first + _CHUNK, len(questions))):
            if self._is_over or any(each.issubset(questions[at].converters) for each in self._refusing):
                break
            length += len(questions[at].path)
            if chunk and length > _CHUNK_LENGTH:
                break
            chunk.append(questions[at])
        return chunk

    def _exchange(self, chunk: Sequence[Undecided], started_s: float) -> bytes:
        """Ask, and return the answers that came; if some are lacking, the process has been ended."""
        process = self._alive()
        if process is None:
            return b""
        got = b""
        try:
            process.send(
                [[q.mount, q.method, q.domain, q.path, q.websocket, q.converters] for q in chunk],
                self._converter_timeout_s,
            )
            while len(got) < len(chunk):
                got += self._received(process, chunk[len(got)], len(chunk) - len(got), started_s)
        except OSError:  # late, or gone
            got += process.end()[: len(chunk) - len(got)]
        finally:
            if len(got) < len(chunk):
                self._end()
        return got

    def _received(self, process: _Process, question: Undecided, most: int, started_s: float) -> bytes:
        """The next answers. Raises OSError where the one to a question does not come in time."""
        asked_s = now_s = time.monotonic()
        while True:
            left_s = asked_s + self._converter_timeout_s - now_s
            slow_s = started_s + SLOW_S - self._waited_s - now_s if self._on_slow else left_s
            try:
                return process.receive(most, max(min(left_s, slow_s), 0.001))
            except TimeoutError:
                now_s = time.monotonic()
                self._tell(question, self._waited_s + now_s - started_s)
                if now_s - asked_s >= self._converter_timeout_s:
                    raise

    def _tell(self, question: Undecided, waited_s: float) -> None:
        if self._on_slow and waited_s >= SLOW_S:
            on_slow, self._on_slow = self._on_slow, None
            on_slow(question, waited_s)

    def _alive(self) -> _Process | None:
        """The process, or one in which the app is loaded again; None, for good, where that fails."""
        if self._process is not None and self._process.has_ended():  # idle: no converter is to blame
            self._end()
        if self._process is None:
            self._process = _Process(self._load)
            try:
                self._greeting(self._process, self._reload_timeout_s)
            except AppError:
                self.close()
        return self._process

    def _greeting(self, process: _Process, timeout_s: float) -> dict[str, Any]:
        """The snapshot that a process begins with. Ends the process and raises AppError where it has none."""
        try:
            greeting = process.greeting(timeout_s)
        except OSError:
            process.end(_GRACE_S)
            raise AppError(
                f"{self._name}: the process that imported it {process.how_it_ended()};"
                " it must import here as it does where it is served"
            ) from None
        except BaseException:
            process.end()
            raise
        if "snapshot" in greeting:
            snapshot: dict[str, Any] = greeting["snapshot"]
            return snapshot
        process.end()
        failed = f"{self._name}: its routes cannot be read, for {greeting.get('failure')}"
        raise AppError(greeting.get("error", failed))

    def _end(self, grace_s: float = 0) -> None:
        if self._process is not None:
            self._process.end(grace_s)
            self._process = None


class _Process:
    """A forked process and the socket to it."""

    def __init__(self, load: Load) -> None:
        self._socket, theirs = socket.socketpair()
        parent = os.getpid()
        self._status: int | None = None
        with warnings.catch_warnings():  # of our other threads: the process needs none of their locks
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if not self._pid:
            from logstatsd.routing.app_host import host  # noqa: PLC0415

            host(theirs, load, parent)
        theirs.close()

    def send(self, item: object, timeout_s: float) -> None:
        self._socket.settimeout(min(timeout_s, 1e6))
        self._socket.sendall(json.dumps(item).encode() + b"\n")

    def receive(self, most: int, timeout_s: float) -> bytes:
        """The bytes that have come. Raises TimeoutError where none do, and OSError at the end."""
        self._socket.settimeout(min(timeout_s, 1e6))
        received = self._socket.recv(most)
        if not received:
            raise ConnectionResetError
        return received

    def greeting(self, timeout_s: float) -> dict[str, Any]:
        """The first line that the process sends, as JSON. Raises OSError where none comes."""
        until_s = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            has_ended = self.has_ended()  # before we look for what it has sent
            try:
                line += self.receive(1 << 20, _TICK_S)
            except TimeoutError:
                if has_ended or time.monotonic() > until_s:
                    raise
        greeting: dict[str, Any] = json.loads(line)
        return greeting

    def how_it_ended(self) -> str:
        """Say how the process ended."""
        code = os.waitstatus_to_exitcode(self._status or 0)
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def end(self, grace_s: float = 0) -> bytes:
        """Kill the process and what it has started; return what it had sent before.

        It has `grace_s` to end by itself, as it does where there are no more questions.
        """
        sent = b""
        if self._socket.fileno() < 0:
            return sent
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        until_s = time.monotonic() + grace_s
        while not self.has_ended() and time.monotonic() < until_s:
            time.sleep(0.002)
        for kill in (os.killpg, os.kill):  # it leads a group of its own, once it has come so far
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self._pid, signal.SIGKILL)
            if self._status is not None:
                break
        if self._status is None:
            self._wait(0)
        with contextlib.suppress(OSError):
            sent = self.receive(_CHUNK, 0)
        self._socket.close()
        return sent

    def has_ended(self) -> bool:
        return self._status is not None or self._wait(os.WNOHANG)

    def _wait(self, options: int) -> bool:
        try:
            pid, status = os.waitpid(self._pid, options)
        except ChildProcessError:  # where SIGCHLD is ignored, nobody keeps how a process ended
            pid, status = self._pid, 0
        self._status = status if pid else None
        return bool(pid)


def _has_custom(snapshot: dict[str, Any]) -> bool:
    return any(
        converter["value"] == "custom"
        for mount in snapshot["mounts"]
        for rule in mount["rules"] or ()
        for converter in rule.get("converters", ())
    )


def _answer(question: Undecided, answer: bytes) -> tuple[Route, bool]:
    return ANSWERS.get(answer, question.fallback), answer != UNPROVEN
