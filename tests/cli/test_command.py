"""The command as a shell sees it: exit codes, errors, signals, pipes, configuration, start-up."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sample
from click.testing import CliRunner
from places import GOLDEN, SAMPLE_LOGS, SHOP

from logstatsd import __version__
from logstatsd.cli import cli
from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

COMMAND = [str(Path(sys.executable).with_name("logstatsd"))]
HEAVY = {"datadog", "flask", "jinja2", "requests", "rich", "werkzeug"}
OURS = re.compile(
    r"LOGSTATSD_|FLASK_|DD_|DATADOG_|NO_COLOR|FORCE_COLOR|COLUMNS|PYTHON(UNBUFFERED|IOENCODING)"
)

APPS = {
    "tiny": "from flask import Flask\napp = Flask(__name__)\napp.add_url_rule('/health', 'health', str)\n",
    "needs": "import a_package_that_nobody_has\n",
    "exits": "import sys\nsys.exit('no database')\n",
    "raises": "raise KeyError('DATABASE_URL')\n",
    "not_python": "def (\n",
    "nothing": "x = 1\n",
    "number": "app = 42\n",
    "noisy": (
        "import atexit, os, threading\nfrom flask import Flask\n"
        "print('hello'); os.write(1, b'hello'); atexit.register(print, 'bye')\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "app = Flask(__name__)\n"
    ),
    "slow": (
        "import sys, threading\nprint('importing', file=sys.stderr, flush=True)\nthreading.Event().wait(60)\n"
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some apps and some logs."""
    found = tmp_path_factory.mktemp("cli")
    for name, text in APPS.items():
        (found / f"{name}.py").write_text(text)
    lines = (SAMPLE_LOGS / "nginx.log").read_bytes().splitlines(keepends=True)
    (found / "ten.log").write_bytes(b"".join(lines[:10]))
    (found / "nginx.log").write_bytes(b"".join(lines))
    shutil.copy(SAMPLE_LOGS / "gunicorn_default.log", found / "untimed.log")
    (found / "empty.log").write_bytes(b"")
    (found / "junk.log").write_bytes(b"\x1b[2Jhello \xff\n" * 5)
    (found / "no_access.log").write_bytes(b"".join(lines[:10]))
    (found / "no_access.log").chmod(0)
    (found / "folder").mkdir()
    (found / "routes.json").write_text(dump_snapshot(sample.loaded().snapshot()))
    (found / "broken.json").write_text("{")
    return found


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In the folder, with nothing set that we read; apps that are imported in this process are forgotten."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in os.environ:
        if OURS.match(name):
            monkeypatch.delenv(name)
    yield folder
    for name in APPS:
        sys.modules.pop(name, None)


def call(*args: str, stdin: bytes = b"") -> Result:
    """The command in this process."""
    return CliRunner().invoke(cli, args, input=stdin, prog_name="logstatsd")


def run(*args: str, command: list[str] = COMMAND, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [*command, *args], check=False, capture_output=True, text=True, timeout=60, **kwargs
    )


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("nowhere:app", "there is no module 'nowhere'"),
        ("tiny:nothing", "tiny has no 'nothing'"),
        ("needs", "needs 'a_package_that_nobody_has'"),
        ("exits", "called sys.exit('no database')"),
        ("raises", "KeyError: 'DATABASE_URL'"),
        ("not_python", "SyntaxError"),
        ("nothing", "'nothing:name'"),
        ("number:app", "number"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_one_line(app: str, words: str, here: Path) -> None:
    done = run("report", "ten.log", "--app", app)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"logstatsd: {app.partition(':')[0]}")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


ROUTES = ("--routes", "routes.json")
ERRORS = [
    # exit code, words, arguments
    (1, "no app given: use --app", "report ten.log"),
    (1, "missing.log: no such file", "report missing.log --routes routes.json"),
    (1, "folder: no file in this folder", "report folder --routes routes.json"),
    (1, "junk.log: no line fits a known format", "report junk.log --routes routes.json"),
    (1, "no line", "report junk.log --log-format nginx --routes routes.json"),
    (1, "'nope' is neither a format's name nor", "report ten.log --log-format nope --routes routes.json"),
    (1, "broken.json: not a snapshot", "report ten.log --routes broken.json"),
    (1, "missing.json: cannot read the routes", "report ten.log --routes missing.json"),
    (1, "missing/x: cannot be written", "report ten.log -o missing/x --routes routes.json"),
    (1, "missing/x: cannot be written", "routes -o missing/x --routes routes.json"),
    (2, "--app and --routes: give one of them", "report ten.log --app tiny --routes routes.json"),
    (2, "'banana' is no time", "report ten.log --since banana --routes routes.json"),
    (2, "--field x: give ROLE=NAME", "report ten.log --field x --routes routes.json"),
    (2, "--unused: give the logs", "routes --unused --routes routes.json"),
    (2, "give a log to check, or --formats", "check"),
    (2, "host would move the metrics", "replay ten.log --dry-run --tag host:x --routes routes.json"),
    (2, "'--rate': 'nan' is not a finite number", "replay ten.log --rate nan --dry-run"),
    (2, "'--rate': 'x' is not a valid number", "replay ten.log --rate x --dry-run"),
    (2, "'--timeout': -1.0 is not", "replay ten.log --timeout -1 --dry-run"),
    (2, "'--for': 'nan' is not a finite number; see `logstatsd listen --help`", "listen --for nan"),
    (2, "--tcp and --socket: give one of them", "listen --tcp --socket x.sock"),
    (2, "--host and --socket: give one of them", "replay ten.log --host x --socket y"),
    (2, "--from: only with --resume", "replay ten.log --from end --dry-run --routes routes.json"),
    (2, "--wait: only with --resume", "replay ten.log --wait --dry-run --routes routes.json"),
    (2, "ten.log.1: is read as a rotated file of ten.log", "replay ten.log ten.log.1 --resume"),
    (2, "only a file can be read on", "report - --follow --routes routes.json"),
    (2, "--backfill takes whole logs", "replay ten.log --resume --backfill"),
    (2, "know only milliseconds; take --scheme flask",
     "replay ten.log --scheme otel --dialect graphite --dry-run --routes routes.json"),
    (2, "'--sample-rate': 7.0", "replay ten.log --dry-run --sample-rate 7 --routes routes.json"),
    (3, "no StatsD server listens at udp://localhost:1;", "replay ten.log --port 1 --routes routes.json"),
    (3, "no StatsD server at missing.sock", "replay ten.log --socket missing.sock --routes routes.json"),
    (3, "no-such-host.invalid", "replay ten.log --host no-such-host.invalid --routes routes.json"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "words", "args"), ERRORS, ids=[args for *_, args in ERRORS])
def test_an_error_is_one_line_and_its_exit_code(code: int, words: str, args: str, here: Path) -> None:
    done = call(*args.split())
    assert (done.exit_code, done.stdout) == (code, "")
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.startswith("logstatsd: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert all(char.isprintable() for char in done.stderr.rstrip("\n"))


@pytest.mark.parametrize("logs", ["untimed.log", "ten.log untimed.log"])
def test_a_log_without_durations_fails_and_the_others_are_sent(logs: str, here: Path) -> None:
    done = call(*f"replay {logs} --dry-run --routes routes.json".split())
    assert (done.exit_code, done.stdout.count("shop.api.request:")) == (1, 10 * ("ten.log" in logs))
    words = "logstatsd: untimed.log: the log has no durations to send; add %(D)s"
    assert done.stderr.splitlines()[-1].startswith(words)


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ("Missing argument 'LOG...'", "report"),
        ("No such command 'nope'", "nope"),
        ("No such option '--nope'", "report ten.log --nope"),
        ("'nope' is not one of 'requests', ", "report ten.log --sort nope"),
        ("-1 is not in the range", "report ten.log --jobs -1"),
        ("'x' is not a valid integer", "replay ten.log --port x"),
    ],
)
def test_wrong_usage_says_where_help_is(words: str, args: str, here: Path) -> None:
    done = call(*args.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr.replace("No such option: --nope", "No such option '--nope'")
    assert done.stderr.endswith(" --help`\n")
    assert done.stderr.count("\n") == 1


def test_a_log_that_may_not_be_read(here: Path) -> None:
    command = COMMAND
    if os.geteuid() == 0:  # root may read anything, unless that power is taken from it
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *COMMAND]
    done = run("report", "no_access.log", *ROUTES, command=command)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"logstatsd: no_access\.log: .* may not read it, .*\n", done.stderr)


def test_an_empty_log_is_done_with_a_note(here: Path) -> None:
    done = call("report", "empty.log", *ROUTES)
    assert (done.exit_code, done.stderr) == (0, "empty.log: empty\n0 requests\n")
    assert call("report", "empty.log", *ROUTES, "-q").stderr == ""
    assert json.loads(call("report", "empty.log", *ROUTES, "--json").stdout)["lines"] == 0
    assert call("replay", "empty.log", *ROUTES, "--dry-run").exit_code == 0


def test_rejected_lines_are_shown_and_do_not_stop_a_run(here: Path) -> None:
    log = Path("ten.log").read_bytes() + Path("junk.log").read_bytes()
    done = call("report", "-", *ROUTES, "--json", stdin=log)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rejections"] == {"no match": 5}
    assert "5 of 15 lines rejected: no match 5\n  no match: \\x1b[2Jhello \\xff\n" in done.stderr


# --- the app's manners ------------------------------------------------------------------------------------


def test_what_an_app_does_when_imported_does_not_matter(here: Path) -> None:
    done = run("report", "ten.log", "--app", "noisy", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["lines"] == 10
    assert "bye" not in done.stdout + done.stderr


def test_the_three_ways_to_start_it_are_the_same(here: Path) -> None:
    env = {**os.environ, "COLUMNS": "100"}
    args = ["report", str(SAMPLE_LOGS / "nginx.log")]
    flask = [str(Path(sys.executable).with_name("flask")), "--app", SHOP, "logstatsd"]
    one = run(*args, "--app", SHOP, env=env)
    other = run(*args, "--app", SHOP, command=[sys.executable, "-m", "logstatsd"], env=env)
    third = run(*args, command=flask, env=env)
    assert one.returncode == other.returncode == third.returncode == 0
    assert one.stdout == (GOLDEN / "nginx-100.txt").read_text()
    assert (one.stdout, one.stderr) == (other.stdout, other.stderr) == (third.stdout, third.stderr)


# --- signals and pipes ------------------------------------------------------------------------------------


@pytest.fixture
def started(here: Path) -> Iterator[Any]:
    """Start a command that a test talks to; one that falls silent is killed: no test waits for ever."""
    processes: list[tuple[subprocess.Popen[bytes], threading.Timer]] = []

    def start(*args: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        process = subprocess.Popen([*COMMAND, *args], stdin=pipe, stdout=pipe, stderr=pipe)
        processes.append((process, threading.Timer(20, process.kill)))
        processes[-1][1].start()
        return process

    yield start
    for process, timer in processes:
        timer.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_ends_a_run_at_once_and_quietly(
    number: signal.Signals, code: int, jobs: str, started: Any, folder: Path
) -> None:
    process = started("normalize", "-", "--jobs", jobs, *ROUTES)
    process.stdin.write((folder / "ten.log").read_bytes())
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["offset"] == 0, "a live stream is passed on as it comes"
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (code, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_app_is_imported(number: signal.Signals, code: int, started: Any) -> None:
    process = started("report", "ten.log", "--app", "slow")
    assert process.stderr.readline() == b"importing\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (code, b"", b"")


def test_a_reader_that_leaves_is_no_error(started: Any) -> None:
    process = started("normalize", "nginx.log", *ROUTES)
    assert process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=20)
    assert process.stderr.read() == b""


def test_standard_input_is_a_log(here: Path) -> None:
    whole = Path("nginx.log").read_bytes()
    piped, named = (
        json.loads(call("report", name, *ROUTES, "--json", "-q", stdin=whole).stdout)
        for name in ("-", "nginx.log")
    )
    assert piped == named
    assert piped["lines"] == 3_000


def on_a_terminal(*args: str, columns: int, **env: str) -> str:
    """What the command prints on a terminal of so many columns."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *args], stdin=child, stdout=child, stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(child)
    found = b""
    while True:
        try:
            read = os.read(parent, 65_536)
        except OSError:  # Linux's way to say that the other side has closed
            read = b""
        if not read:
            break
        found += read
    os.close(parent)
    process.communicate(timeout=20)
    return found.decode().replace("\r\n", "\n")


def test_a_table_fits_the_terminal_it_is_shown_on(here: Path) -> None:
    text = on_a_terminal("report", "nginx.log", *ROUTES, columns=80)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", text)
    piped = run("report", "nginx.log", *ROUTES, env={**os.environ, "COLUMNS": "80"}).stdout
    assert [line.rstrip() for line in bare.splitlines()] == piped.splitlines()
    assert "\x1b[2m" in text, "what no rule matched is dim"


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_are_left_out_on_demand(env: dict[str, str], here: Path) -> None:
    text = on_a_terminal("report", "nginx.log", *ROUTES, columns=80, **env)
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?[349]\d", text)
    assert "TERM" not in env or "\x1b" not in text


def test_a_locale_without_boxes_is_no_error(here: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = run("report", "nginx.log", *ROUTES, encoding="latin-1", env=env)
    assert done.returncode == 0, done.stderr
    assert "/health" in done.stdout


# --- configuration ----------------------------------------------------------------------------------------


@pytest.fixture
def configured(here: Path) -> Iterator[Any]:
    """Write configuration files; they are gone after the test."""
    written = []

    def write(text: str, name: str = "logstatsd.toml") -> None:
        written.append(Path(name))
        Path(name).write_text(text)

    yield write
    for path in written:
        path.unlink()


def grouped_by(*args: str) -> set[str]:
    done = call("report", "ten.log", "--json", *args)
    assert done.exit_code == 0, done.stderr
    return {"rule", "endpoint", "method", "status"} & set(json.loads(done.stdout)["rows"][0])


def test_a_flag_beats_the_environment_beats_the_file(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grouped_by(*ROUTES) == {"rule", "endpoint", "method"}
    configured('by = ["method"]\n')
    assert grouped_by(*ROUTES) == {"method"}
    monkeypatch.setenv("LOGSTATSD_BY", "status")
    assert grouped_by(*ROUTES) == {"status"}
    assert grouped_by(*ROUTES, "--by", "endpoint") == {"endpoint"}


@pytest.mark.parametrize("name", ["logstatsd.toml", "pyproject.toml"])
def test_a_file_may_name_the_app_and_speak_to_one_command(name: str, configured: Any) -> None:
    head, table = (
        ("", "report") if name == "logstatsd.toml" else ("[tool.logstatsd]", "tool.logstatsd.report")
    )
    configured(
        f'{head}\napp = "tiny"\nexclude = "health"\n[{table}]\ncsv = true\nlog-format = "nginx"\n', name
    )
    done = call("report", "ten.log", "-q")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("rule,endpoint,")
    assert call("routes", "-q").stdout.count("/health") == 1


def test_a_pyproject_of_others_is_passed_over(configured: Any) -> None:
    configured('[project]\nname = "shop"\n', "pyproject.toml")
    assert grouped_by(*ROUTES) == {"rule", "endpoint", "method"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nope = 1", "there is no option --nope"),
        ("[report]\nport = 8125", "report has no option --port"),
        ("[nope]\nby = 1", "there is no option --nope"),
        ("by = [", "logstatsd.toml: "),
    ],
)
def test_a_mistake_in_the_file_is_one_line(text: str, words: str, configured: Any) -> None:
    configured(text)
    done = call("report", "ten.log", *ROUTES)
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.fullmatch(r"logstatsd: logstatsd\.toml: .*\n", done.stderr)
    assert words in done.stderr


def test_what_names_the_app_on_the_command_line_beats_the_rest(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured('app = "raises"\n')
    assert call("report", "ten.log", *ROUTES).exit_code == 0
    monkeypatch.setenv("LOGSTATSD_ROUTES", "routes.json")
    assert call("report", "ten.log").exit_code == 0
    monkeypatch.setenv("LOGSTATSD_APP", "raises")
    assert "give one of them" in call("report", "ten.log").stderr
    flask = [str(Path(sys.executable).with_name("flask")), "--app", "tiny", "logstatsd"]
    monkeypatch.delenv("LOGSTATSD_ROUTES")
    assert run("report", "ten.log", command=flask).returncode == 0


@pytest.mark.parametrize(("value", "start"), [("1", "{"), ("true", "{"), ("0", "rule  "), ("", "rule  ")])
def test_the_environment_may_set_a_flag(value: str, start: str, here: Path) -> None:
    done = run("report", "ten.log", *ROUTES, env={**os.environ, "LOGSTATSD_JSON": value})
    assert done.stdout.startswith(start)


@pytest.mark.parametrize("name", ["LOGSTATSD_APP", "FLASK_APP"])
def test_the_environment_may_name_the_app(name: str, here: Path) -> None:
    assert run("report", "ten.log", env={**os.environ, name: "tiny"}).returncode == 0


# --- start-up ---------------------------------------------------------------------------------------------


def seconds(*command: str) -> float:
    """Processor time of a command, the best of three: what a busy machine does not stretch."""
    found = []
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        found.append(used.ru_utime + used.ru_stime)
    return min(found)


def imported(*args: str) -> set[str]:
    done = run(*args, command=[sys.executable, "-X", "importtime", "-m", "logstatsd"])
    assert done.returncode == 0
    return {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line
    }


@pytest.mark.parametrize("args", ["--help", "--version", "report --help", "replay --help"])
def test_help_and_version_are_there_at_once(args: str, here: Path) -> None:
    assert not imported(*args.split()) & HEAVY
    assert seconds(*COMMAND, *args.split()) < 0.15


def test_version_and_help() -> None:
    assert call("--version").stdout == f"logstatsd, version {__version__}\n"
    assert call("-h").stdout == call("--help").stdout
    assert call().stderr.replace("\n", "").startswith("Usage: logstatsd [OPTIONS] COMMAND")


def test_a_report_imports_what_it_needs(here: Path) -> None:
    assert imported("report", "ten.log", *ROUTES) & HEAVY == {"rich"}
    assert not imported("report", "ten.log", *ROUTES, "--json") & HEAVY
    assert not imported("normalize", "ten.log", *ROUTES) & HEAVY


def test_a_short_log_is_reported_at_once(here: Path) -> None:
    assert seconds(*COMMAND, "report", "ten.log", *ROUTES) < 0.30
    app = seconds(sys.executable, "-c", "import tiny")
    assert seconds(*COMMAND, "report", "ten.log", "--app", "tiny") - app < 0.15


# --- output that cannot be written ------------------------------------------------------------------------


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", ["report ten.log", "replay ten.log --dry-run"])
def test_a_closed_stream_stops_nothing(command: str, redirection: str, here: Path) -> None:
    words = [*COMMAND, *command.split(), *ROUTES]
    done = run(command=["sh", "-c", f'"$@" {redirection}', "sh", *words])
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["report ten.log", "replay ten.log --dry-run", "normalize ten.log", "routes", "check ten.log"]
)
def test_a_full_disk_is_one_line(command: str, here: Path) -> None:
    words = [*COMMAND, *command.split(), *ROUTES]
    done = run(command=["sh", "-c", '"$@" > /dev/full', "sh", *words])
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "No space left on device" in line] == [
        line for line in done.stderr.splitlines() if line.startswith(("logstatsd: ", "Traceback"))
    ]


def test_words_that_cannot_be_written_stop_no_work(here: Path) -> None:
    done = run(
        command=["sh", "-c", '"$@" 2> /dev/full', "sh", *COMMAND, "replay", "ten.log", "--dry-run", *ROUTES]
    )
    assert done.returncode == 0
    assert done.stdout.count("\n") == 10


def test_a_replay_that_is_ended_says_what_it_has_sent(started: Any) -> None:
    process = started("replay", "nginx.log", *ROUTES, "--dry-run", "--speed", "0.1", "--json")
    assert process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    told = json.loads(err.splitlines()[0])
    assert process.returncode == 143
    assert told["due"] == told["sent"] + told["dropped"] + told["unconfirmed"]
    assert 0 < told["sent"] < 3_000
