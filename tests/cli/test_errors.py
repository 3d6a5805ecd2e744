"""Errors: one line on standard error, and an exit code that says what kind of error it was."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from command import COMMAND, invoke, run

ROUTES = ("--routes", "routes.json")


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
    done = run("report", "ten.log", "--app", app, code=1)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"logstatsd: {app.partition(':')[0]}")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


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
    done = invoke(*args.split(), code=code)
    assert done.stdout == ""
    assert done.stderr.startswith("logstatsd: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert all(char.isprintable() for char in done.stderr.rstrip("\n"))


@pytest.mark.parametrize("logs", ["untimed.log", "ten.log untimed.log"])
def test_a_log_without_durations_fails_and_the_others_are_sent(logs: str, here: Path) -> None:
    done = invoke(*f"replay {logs} --dry-run --routes routes.json".split(), code=1)
    assert done.stdout.count("shop.api.request:") == 10 * ("ten.log" in logs)
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
    done = invoke(*args.split(), code=2)
    assert done.stdout == ""
    assert words in done.stderr.replace("No such option: --nope", "No such option '--nope'")
    assert done.stderr.endswith(" --help`\n")
    assert done.stderr.count("\n") == 1


def test_a_log_that_may_not_be_read(here: Path) -> None:
    command = COMMAND
    if os.geteuid() == 0:  # root may read anything, unless that power is taken from it
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *COMMAND]
    done = run("report", "no_access.log", *ROUTES, command=command, code=1)
    assert done.stdout == ""
    assert re.fullmatch(r"logstatsd: no_access\.log: .* may not read it, .*\n", done.stderr)


def test_an_empty_log_is_done_with_a_note(here: Path) -> None:
    done = invoke("report", "empty.log", *ROUTES)
    assert done.stderr == "empty.log: empty\n0 requests\n"
    assert invoke("report", "empty.log", *ROUTES, "-q").stderr == ""
    assert json.loads(invoke("report", "empty.log", *ROUTES, "--json").stdout)["lines"] == 0
    invoke("replay", "empty.log", *ROUTES, "--dry-run")


def test_rejected_lines_are_shown_and_do_not_stop_a_run(here: Path) -> None:
    log = Path("ten.log").read_bytes() + Path("junk.log").read_bytes()
    done = invoke("report", "-", *ROUTES, "--json", stdin=log)
    assert json.loads(done.stdout)["rejections"] == {"no match": 5}
    assert "5 of 15 lines rejected: no match 5\n  no match: \\x1b[2Jhello \\xff\n" in done.stderr


# --- output that cannot be written ------------------------------------------------------------------------


def redirected(redirection: str) -> list[str]:
    """The command as a shell starts it, with its streams redirected."""
    return ["sh", "-c", f'"$@" {redirection}', "sh", *COMMAND]


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", ["report ten.log", "replay ten.log --dry-run"])
def test_a_closed_stream_stops_nothing(command: str, redirection: str, here: Path) -> None:
    done = run(*command.split(), *ROUTES, command=redirected(redirection))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["report ten.log", "replay ten.log --dry-run", "normalize ten.log", "routes", "check ten.log"]
)
def test_a_full_disk_is_one_line(command: str, here: Path) -> None:
    done = run(*command.split(), *ROUTES, command=redirected("> /dev/full"), code=1)
    assert [line for line in done.stderr.splitlines() if "No space left on device" in line] == [
        line for line in done.stderr.splitlines() if line.startswith(("logstatsd: ", "Traceback"))
    ]


def test_words_that_cannot_be_written_stop_no_work(here: Path) -> None:
    done = run("replay", "ten.log", "--dry-run", *ROUTES, command=redirected("2> /dev/full"))
    assert done.stdout.count("\n") == 10
