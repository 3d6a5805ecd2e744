"""An app in a process of its own: its converters have a time budget, and what it does reaches nobody."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import odd_converters
import pytest
from odd_converters import REFUSING

from logstatsd.errors import AppError
from logstatsd.model.batch import Batch
from logstatsd.model.route import UNMATCHED, Route, Undecided
from logstatsd.routing import app as apps
from logstatsd.routing import app_process
from logstatsd.routing.app_process import AppProcess
from logstatsd.routing.router import Router
from logstatsd.scan.settle import Settler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flask import Flask

LINE = '192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET {} HTTP/1.1" 200 2 "-" "-" 0.001\n'


@pytest.fixture
def started() -> Iterator[Callable[..., AppProcess]]:
    """`started(app)` is a process with that app in it; it is ended after the test."""
    processes = []

    def start(app: Flask, **options: Any) -> AppProcess:
        options = {"converter_timeout_s": 1.0} | options
        processes.append(AppProcess(lambda: apps.from_object(app), "the app", **options))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


def questions(app: AppProcess, paths: Iterable[str]) -> list[Undecided]:
    router = Router(app.snapshot())
    found = [router.match("GET", path.encode()) for path in paths]
    return [each for each in found if isinstance(each, Undecided)]


def asked(app: AppProcess, *paths: str) -> list[tuple[str, bool]]:
    answers = app.resolve_all(questions(app, paths))
    assert len(answers) == len(paths)
    return [(route.rule, proven) for route, proven in answers]


# --- converters that refuse -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSING)
def test_a_converter_that_does_not_answer_keeps_its_rule_unproven(
    name: str, started: Callable[..., AppProcess]
) -> None:
    """It exits, sleeps for ever, recurses, allocates, is killed, …; all others go on being asked."""
    app = started(odd_converters.refusing)
    answers = asked(app, "/good/1", f"/{name}/x", f"/{name}/y", f"/both/{name}/no/x", "/good/no", "/good/2")
    alone, both = f"/{name}/<{name}:value>", f"/both/{name}/<good:value>/<{name}:other>"
    good = "/good/<good:value>"
    assert answers == [
        (good, True), (alone, False), (alone, False), (both, False), (UNMATCHED.rule, True), (good, True),
    ]  # fmt: skip


def test_one_rule_that_is_refused_does_not_cost_its_good_converter(
    started: Callable[..., AppProcess],
) -> None:
    """Of a rule with two converters, it cannot be seen from outside which of them hangs."""
    app = started(odd_converters.refusing)
    assert asked(app, "/both/sleeps/yes/x", "/good/no") == [
        ("/both/sleeps/<good:value>/<sleeps:other>", False),
        (UNMATCHED.rule, True),
    ]


def test_each_converter_costs_its_time_once(started: Callable[..., AppProcess]) -> None:
    app = started(odd_converters.refusing)
    began = time.monotonic()
    asked(app, *(f"/sleeps/{number}" for number in range(1_000)))
    assert time.monotonic() - began < 5


def test_a_budget_is_a_questions_own(started: Callable[..., AppProcess]) -> None:
    """Many quick answers may take longer together."""
    app = started(odd_converters.app_of({"slow": Slow}))
    answers = asked(app, *(f"/slow/{number}" for number in range(8)))
    assert {proven for _, proven in answers} == {True}


class Slow(odd_converters.Good):
    def to_python(self, value: str) -> str:
        time.sleep(0.1)
        return super().to_python(value)


class Waits:
    """A clock by which each answer takes a tenth of a second, however long it takes."""

    def __init__(self) -> None:
        self.now_s, self.answers = 0.0, 0

    def monotonic(self) -> float:
        return self.now_s

    def receive(self, process: app_process._Process, most: int, timeout_s: float) -> bytes:
        due_s = (self.answers + 1) / 10
        if self.now_s + timeout_s < due_s:
            self.now_s += timeout_s
            raise TimeoutError
        self.now_s, self.answers = due_s, self.answers + 1
        process._socket.settimeout(60)
        return process._socket.recv(1)


def test_slow_converters_are_told_of_once(
    started: Callable[..., AppProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a second of waiting in all, while it lasts."""
    told: list[tuple[str, float, int]] = []
    waits = Waits()
    app = started(
        odd_converters.refusing,
        on_slow=lambda slow, waited_s: told.append((slow.fallback.rule, waited_s, waits.answers)),
    )
    good = questions(app, (f"/good/{number}" for number in range(24)))
    monkeypatch.setattr(app_process, "time", waits)

    def receive(process: app_process._Process, most: int, timeout_s: float) -> bytes:
        return waits.receive(process, most, timeout_s)

    monkeypatch.setattr(app_process._Process, "receive", receive)
    app.resolve_all(good[:4])
    assert not told
    app.resolve_all(good[4:])
    ((rule, waited_s, answers),) = told
    assert rule == "/good/<good:value>"
    assert 1 <= waited_s < 1.01
    assert 9 <= answers <= 10
    assert waits.answers == 24


def test_an_app_that_cannot_be_loaded_again_is_asked_no_more(tmp_path: Path) -> None:
    once = tmp_path / "loaded"

    def load() -> apps.LoadedApp:
        if once.exists():
            raise AppError("once only")
        once.touch()
        return apps.from_object(odd_converters.refusing)

    app = AppProcess(load, "the app", converter_timeout_s=1.0)
    assert asked(app, "/exitsatonce/x", "/good/no", "/good/x") == [
        ("/exitsatonce/<exitsatonce:value>", False),
        ("/good/<good:value>", False),
        ("/good/<good:value>", False),
    ]
    app.close()


def test_nobody_is_left_behind(started: Callable[..., AppProcess]) -> None:
    """Neither of the processes that were ended nor of the last one."""
    app = started(odd_converters.refusing)
    asked(app, *(f"/{name}/x" for name in ("sleeps", "isstopped", "crashes", "good")))
    assert children() != []
    app.close()
    assert children() == []
    assert asked(app, "/good/no") == [("/good/<good:value>", False)]


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_an_app_that_need_not_be_asked_is_let_go_at_once(started: Callable[..., AppProcess]) -> None:
    started(odd_converters.app_of({}))
    assert children() == []


def test_asking_costs_little(started: Callable[..., AppProcess]) -> None:
    """Measure our processor time, which a busy machine does not stretch."""
    app = started(odd_converters.refusing, converter_timeout_s=30)
    good = questions(app, (f"/good/{number}" for number in range(5_000)))
    before = time.process_time()
    app.resolve_all(good)
    assert (time.process_time() - before) / len(good) < 100e-6


# --- what is remembered ---------------------------------------------------------------------------------


class Counting:
    """An app that notes what it is asked."""

    def __init__(self) -> None:
        self.questions: list[Undecided] = []

    def resolve_all(self, questions: Any) -> list[tuple[Route, bool]]:
        self.questions += questions
        return [(each.fallback, True) for each in questions]


def about(path: str) -> Undecided:
    route = Route("/<x:y>", "e", "matched")
    return Undecided(0, "GET", "", path, websocket=False, fallback=route, converters=("X",))


def test_a_question_is_asked_once() -> None:
    app = Counting()
    settler = Settler(app)
    for status in (200, 404):
        batch = Batch()
        for path in ("/a", "/b"):
            batch.put(about(path), "GET", status, None, role="duration", durations={1: 1})
        settler.settle(batch)
    assert settler.route(about("/a")) == (about("/a").fallback, True)
    assert app.questions == [about("/a"), about("/b")]


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    settler = Settler(Counting())
    tracemalloc.start()
    for number in range(1_000):
        path = f"/{number}/".ljust(60_000, "x")
        settler.app = Counting()  # which keeps what it is asked
        settler.route(about(path))
        settler.route(about(path))
        assert len(settler.app.questions) == 1
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20 << 20


# --- an app that does what it likes ---------------------------------------------------------------------

QUIET = """
from flask import Flask
from werkzeug.routing import BaseConverter, ValidationError

class Even(BaseConverter):
    def to_python(self, value):
        if int(value) % 2:
            raise ValidationError
        return int(value)

app = Flask("web", static_folder=None)
app.url_map.converters["even"] = Even
app.add_url_rule("/x", "x", lambda: "")
app.add_url_rule("/even/<even:n>", "even", lambda n: "")
"""

LIBERTIES = {
    "changes directory": "import os; os.chdir('/')",
    "installs signal handlers": """
        import signal
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL); signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    """,
    "closes sys.__stdout__": "import sys; sys.__stdout__.close()",
    "closes the descriptors": "import os; os.close(0); os.close(1)",
    "reads sys.argv": "import argparse; argparse.ArgumentParser().parse_args()",
    "changes sys.argv": "import sys; sys.argv[:] = ['other', '--bad']",
    "reads stdin": "import sys; assert sys.stdin.read() == ''",
    "changes the locale": """
        import locale, os
        os.environ.update(LC_ALL="C", LANG="C", PYTHONIOENCODING="ascii", TZ="Asia/Tokyo")
        locale.setlocale(locale.LC_ALL, "C"); import time; time.tzset()
    """,
    "changes sys.path": "import sys; sys.path[:] = []",
    "starts threads": """
        import threading, time
        threading.Thread(target=time.sleep, args=(3600,)).start()
    """,
    "starts a thread that ends it all": """
        import os, threading
        threading.Timer(0.2, os._exit, [9]).start()
    """,
    "starts processes": "import subprocess; subprocess.Popen(['sleep', '3600'])",
    "forks": """
        import os, time
        if os.fork() == 0:
            time.sleep(0.1)
    """,
    "has exit handlers": "import atexit, time; atexit.register(time.sleep, 3600)",
    "sets the recursion limit": "import sys; sys.setrecursionlimit(60)",
    "ends all warnings": "import warnings; warnings.simplefilter('error')",
    "has a log handler": "import logging; logging.basicConfig(level=0); logging.warning('loud')",
    "patches with gevent": "from gevent import monkey; monkey.patch_all()",
    "patches the library": """
        import json, os, socket, time
        time.time = time.monotonic = time.perf_counter = lambda: 0
        json.dumps = json.loads = os.fork = os.kill = socket.socketpair = None
    """,
    "limits itself": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))",
    "sets umask and niceness": "import os; os.umask(0o777); os.nice(5)",
    "stops the collector": "import gc; gc.disable(); gc.set_threshold(0)",
    "changes sys.executable": "import sys; sys.executable = '/bin/false'",
    "replaces the streams": "import io, sys; sys.stdout = sys.stderr = io.StringIO()",
    "traces": "import sys; sys.setprofile(lambda *_: None); sys.settrace(lambda *_: None)",
}


def run(directory: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK", "PYTHON"))}
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=60, check=False, input="",
        env=base | environment,
    )  # fmt: skip


def laid_out(directory: Path, source: str, lines: int = 1) -> Path:
    directory.mkdir()
    (directory / "wsgi.py").write_text(source)
    targets = ("/x", "/even/2", "/even/3", "/none", "/even/x")
    (directory / "access.log").write_text("".join(map(LINE.format, targets)) * lines)
    return directory


@pytest.fixture(scope="module")
def as_if_not(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Run the commands with the app that takes no liberties."""
    directory = laid_out(tmp_path_factory.mktemp("quiet") / "app", QUIET)
    found = {name: said(run(directory, *command)) for name, command in COMMANDS.items()}
    assert all(code == 0 and out for code, out, _ in found.values())
    return found


COMMANDS = {
    "report": ("logstatsd", "report", "access.log", "--app", "wsgi:app", "--jobs", "2"),
    "normalize": ("logstatsd", "normalize", "access.log", "--app", "wsgi:app"),
    "flask": ("flask", "--app", "wsgi", "logstatsd", "report", "access.log"),
}


def said(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Exit code, stdout, and of stderr what is ours."""
    ours = [line for line in done.stderr.splitlines() if "loud" not in line]
    return done.returncode, done.stdout, "\n".join(ours)


EVERYWHERE = ("changes directory", "closes sys.__stdout__", "reads sys.argv", "starts threads")
"""What is tried with each of COMMANDS."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("liberty", "command"),
    [
        *((liberty, "report") for liberty in LIBERTIES),
        *((liberty, command) for liberty in EVERYWHERE for command in ("normalize", "flask")),
    ],
)
def test_the_run_is_as_if_the_app_had_not(
    liberty: str, command: str, tmp_path: Path, as_if_not: dict[str, tuple[int, str, str]]
) -> None:
    directory = laid_out(tmp_path / "app", QUIET + textwrap.dedent(LIBERTIES[liberty]))
    assert said(run(directory, *COMMANDS[command])) == as_if_not[command]


def needed_by_python() -> set[str]:
    """List what `python -m` imports before it comes to any code of ours."""
    code = "import runpy, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()} | {"__future__", "os", "sys"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "path"),
    # with "." before it, flask itself would be shadowed
    [("logstatsd", ""), ("logstatsd", "."), ("python -m", ""), ("python -m", "."), ("flask", "")],
)
def test_an_app_may_shadow_the_standard_library(
    way: str, path: str, tmp_path: Path, as_if_not: dict[str, tuple[int, str, str]]
) -> None:
    """All of it: the command and its workers go on importing Python's own."""
    directory = laid_out(tmp_path / "app", QUIET)
    spared = needed_by_python() if path or way == "python -m" else {"__main__"}
    for name in filter(importlib.util.find_spec, sys.stdlib_module_names - spared):
        (directory / f"{name}.py").write_text("raise SystemExit(f'shadowed by {__file__}')\n")
    if path:  # what Flask itself imports from PYTHONPATH is shadowed in any server too
        imported = run(tmp_path, sys.executable, "-c", "import flask.cli, sys; print(*sys.modules)").stdout
        for name in {each.partition(".")[0] for each in imported.split()} & sys.stdlib_module_names:
            (directory / f"{name}.py").unlink(missing_ok=True)
    command = list(COMMANDS["flask" if way == "flask" else "report"])
    command[:1] = [sys.executable, "-m", "logstatsd"] if way == "python -m" else command[:1]
    done = run(directory, *command, **({"PYTHONPATH": path} if path else {}))
    assert said(done) == as_if_not["flask" if way == "flask" else "report"]


def test_a_factory_of_a_command_of_the_apps_own_is_called_with_its_context(tmp_path: Path) -> None:
    """`FlaskGroup(create_app=…)` may look at its own options, and may be a function without a name."""
    directory = laid_out(tmp_path / "app", QUIET)
    (directory / "manage.py").write_text(
        "import sys; sys.path.insert(0, '.')\n"
        "from flask.cli import FlaskGroup\n"
        "def make():\n    import os\n    os.chdir('/')\n    from wsgi import app\n    return app\n"
        "FlaskGroup(create_app=lambda: make())()\n"
    )
    done = run(directory, sys.executable, "manage.py", "logstatsd", "normalize", "access.log")
    assert [json.loads(line)["rule"] for line in done.stdout.splitlines()] == [
        "/x", "/even/<even:n>", "(unmatched)", "(unmatched)", "/even/<even:n>",
    ], done.stderr  # fmt: skip


# --- what the command line says -------------------------------------------------------------------------


def test_slow_converters_are_named_with_the_way_out(tmp_path: Path) -> None:
    sleeping = QUIET.replace(
        "        if int(value)", "        import time; time.sleep(600)\n        if int(value)"
    )
    directory = laid_out(tmp_path / "app", sleeping)
    done = run(directory, *COMMANDS["report"])
    assert done.returncode == 0
    assert "the app's converters are slow to answer" in done.stderr
    assert "--no-converters" in done.stderr
    assert "3 requests keep a rule whose converters could not be asked: /even/<even:n> (3)" in done.stderr
    quick = run(directory, *COMMANDS["report"], "--no-converters")
    assert "slow" not in quick.stderr


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import os; os._exit(3)", "the process that imported it ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", "the process that imported it was killed by SIGSEGV"),
        (
            "import os; os.closerange(3, 1000)\nfrom flask import Flask\napp = Flask('x')",
            "ended with exit code 0",
        ),
    ],
)
def test_an_import_that_ends_the_process_is_one_line(source: str, says: str, tmp_path: Path) -> None:
    directory = laid_out(tmp_path / "app", source)
    done = run(directory, *COMMANDS["report"])
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert "wsgi:app" in done.stderr
    assert done.stderr.count("\n") == 1


def test_load_takes_what_flask_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = laid_out(tmp_path / "app", QUIET)
    monkeypatch.chdir(directory)
    monkeypatch.delenv("FLASK_APP", raising=False)
    app = app_process.load(["/pre=wsgi.py:app"])
    assert [info.route.rule for info in Router(app.snapshot()).rules] == ["/pre/x", "/pre/even/<even:n>"]
    assert app.app_name == "web"
    assert "wsgi" not in sys.modules
    app.close()
    with pytest.raises(AppError, match="there is no module 'nowhere'"):
        app_process.load(["nowhere"])
