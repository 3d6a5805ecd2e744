"""Hostile command lines: odd options, files, environments, apps and configurations, made from a seed.

    python tests/support/hostile_commands.py [--commands 1000] [--seed N] [--seconds S]

Each has to end by itself, within TIME_LIMIT_S, without a traceback, and with an exit code that is documented.
Ends with 1 and the command lines that did not. `tests/cli/test_hostile.py` runs a share of them.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import lzma
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import sample
from command import COMMAND, forget_settings
from places import SAMPLE_LOGS

from logstatsd.cli import COMMANDS, load_commands
from logstatsd.cli.config import options
from logstatsd.routing.snapshot import dump_snapshot

TIME_LIMIT_S = 30.0
DOCUMENTED = {0, 1, 2, 3, 4, 5}

VALUES = (
    "",
    " ",
    "-",
    "--",
    "-1",
    "0",
    "1",
    "1e300",
    "1e-300",
    "nan",
    "inf",
    "-inf",
    "9" * 30,
    "9" * 5_000,
    "0x10",
    "½",
    "²",
    "true",
    "\udcff",
    "\x1b[2J",
    "a\nb",
    "%",
    "%s",
    "{}",
    "{",
    "*",
    "**",
    "[",
    "../..",
    "/",
    "/dev/null",
    "/proc/self/mem",
    "~",
    "$HOME",
    "x" * 300,
    "x" * 5_000,
    "ten.log",
    "routes.json",
    "folder",
    "missing",
    "é" * 200,
    "1:2",
    "a=b",
    "duration=x",
    "duration=status:ms",
    "status=http_referer",
    "time=status",
    "host=request",
    "role=",
    "=",
    "-15m",
    "-99999999999999d",
    "0001-01-01",
    "9999-12-31T23:59:59-23:59",
    "yesterday",
    "now",
    "nginx",
    "ltsv",
    "json",
    "uwsgi",
    "cri:nginx",
    "docker:docker:nginx",
    "@nginx.conf",
    "@missing",
    "@folder",
    "@ten.log",
    "@broken.py",
    "$status",
    '"$request" $status $http_a$http_b',
    '$request $status "\n"',
    "%(r)s %(s)s %(",
    '{"s":$status,"r":"$request"}',
    "{$status}",
    "%h %r %>s",
    "$request" * 300,
    "localhost",
    "::1",
    "[::1]",
    "256.1.1.1",
    "xn--",
    "a..b",
    "x" * 64 + ".de",
    "udp://[",
    "65536",
    "8125",
    "dogstatsd",
    "table",
    "p95",
    "tiny:app",
    "tiny:nothing",
    "raises",
    "exits",
    "not_python",
    "number:app",
    "shadows:app",
    "/a=tiny:app",
    "/=tiny:app",
    "//=tiny:app",
    ":",
    "a:b:c",
    "tiny:app()",
    "env:prod",
    "host:x",
    "tag\nx:1",
    "100%",
    "50%",
    "101%",
    "20",
    "1000",
)
APPS = {
    "tiny": "from flask import Flask\napp = Flask(__name__)\napp.add_url_rule('/health', 'health', str)\n",
    "raises": "raise KeyError('DATABASE_URL')\n",
    "exits": "import sys\nsys.exit('no database')\n",
    "not_python": "def (\n",
    "number": "app = 42\n",
    "broken": "access_log_format = 5 + [\n",
    "shadows": (
        "import sys\nfrom flask import Flask\nsys.stdout = sys.stderr = None\nclass Odd(Flask):\n"
        "    name = property(lambda self: '\\ud800')\napp = Odd(__name__)\n"
    ),
}
LINE = '192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /health HTTP/1.1" 200 512 "-" "-" 0.042\n'
TOML = (
    "json = 5",
    "jobs = []",
    "by = {a = 1}",
    "exclude = 1979-05-27",
    "jobs = 0xffffffffffffffffffffffffffffffff",
    "a.b.c.d = 1",
    "report = 1",
    "[report]\nsort = 1",
    "[[report]]",
    "since = 1979-05-27T07:32:00Z",
    "app = ''",
    'routes = "\\u0000"',
    "log-format = inf",
    "x = " + "[" * 2_000,
    "\ufeff",
    "= 1",
    "by = ['method', 5, []]",
)
ENVIRONMENT = (
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "TERM",
    "LANG",
    "TZ",
    "HOME",
    "XDG_STATE_HOME",
    "STATE_DIRECTORY",
    "FLASK_APP",
    "DD_DOGSTATSD_URL",
    "DD_AGENT_HOST",
    "DD_DOGSTATSD_PORT",
    "DD_TAGS",
    "LOGSTATSD_CONFIG",
    "LOGSTATSD_SCANNER",
    "LOGSTATSD_JSON",
    "LOGSTATSD_JOBS",
    "LOGSTATSD_REPORT_SORT",
    "LOGSTATSD_SINCE",
    "NOTIFY_SOCKET",
    "PYTHONIOENCODING",
)
SAFE = {"TERM", "PYTHONIOENCODING"}
"""Variables that break Python itself with odd values; they get one of a few."""
ENDLESS = {"--follow", "--for", "--wait", "--speed", "--rate", "--help"}
"""Options that take as long as they are asked to."""


class Case(NamedTuple):
    """One command line, with the environment, the configuration and the standard input it runs with."""

    args: list[str]
    env: dict[str, str]
    toml: str
    stdin: str

    def __str__(self) -> str:
        env = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.env.items())
        toml = f" with {self.toml!r}" if self.toml else ""
        return f"{env} logstatsd {shlex.join(self.args)} < {self.stdin}{toml}".lstrip()[:2_000]


SOUND = b"".join((SAMPLE_LOGS / "nginx.log").read_bytes().splitlines(keepends=True)[:200])
ODD_TIMES = ("31/Dec/9999:23:59:59", "01/Jan/0001:00:00:00", "99/Nov/2026:99:99:99", "22/Xxx/2026:13:25:15")
FILES = {
    "ten.log": SOUND,
    "empty.log": b"",
    "blank.log": b"\n" * 70_000,
    "nul.log": bytes(5_000),
    "one.log": b"x",
    "cut.gz": gzip.compress(SOUND)[:-20],
    "three.gz": gzip.compress(SOUND)[:3],
    "bad.bz2": bz2.compress(SOUND)[:200] + b"x" * 99,
    "cut.xz": lzma.compress(SOUND)[:100],
    "zstd.zst": b"\x28\xb5\x2f\xfd\x00\xa8" + b"x" * 50,
    "archive.zip": b"PK\x03\x04",
    "odd.log": "".join(LINE.replace("22/Nov/2026:13:25:15", odd) for odd in ODD_TIMES).encode(),
    "json.log": b'{"status":200,"request":"GET / HTTP/1.1","time":1e400,"request_time":1e300}\n{"a":'
    + b"[" * 5_000,
    "ltsv.log": b"time:x\tmethod:GET\turi:/\tstatus:200\treqtime:nan\nstatus:\t:\n",
    "long.log": LINE.replace("/health", "/" + "a" * 200_000).encode(),
    "bytes.log": bytes(range(256)) * 20,
    "name\nwith é": SOUND,
    "nginx.conf": b"log_format x '$a",
    "broken.json": b"{",
    "new.json": b'{"logstatsd_routes": 99}',
    "odd.json": b'{"logstatsd_routes": 1, "app_name": 5, "mounts": [5]}',
    "deep.json": b"[" * 100_000,
}
SNAPSHOTS = (*["routes.json"] * 8, "broken.json", "new.json", "odd.json", "deep.json")


def write_files(folder: Path) -> list[str]:
    """Write apps, logs and snapshots, sound and odd; give the names of what may be a log."""
    for name, text in APPS.items():
        (folder / f"{name}.py").write_text(text)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    (folder / "routes.json").write_text(dump_snapshot(sample.loaded().snapshot()))
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    return [*FILES, "folder", "loop", "missing.log", "*.gz", "-", ".", "/dev/null", ""]


def _value(random_: random.Random, option: click.Option) -> str:
    """A value for an option: as often one that it takes as an odd one."""
    if isinstance(option.type, click.Choice) and random_.random() < 0.5:
        return str(random_.choice([*option.type.choices]))
    numbers = click.types.FloatParamType | click.types.IntParamType
    if isinstance(option.type, numbers) and random_.random() < 0.5:
        return "1"
    return random_.choice(VALUES)


def make_case(random_: random.Random, logs: list[str]) -> Case:
    """Make a command line."""
    name = random_.choice([*COMMANDS])
    known = [(flag, each) for flag, each in options(load_commands()[name]).items() if flag not in ENDLESS]
    args = [name]
    if name != "listen":
        weights = [20] + [1] * (len(logs) - 1)
        args += random_.choices(logs, weights, k=random_.choice((0, 1, 1, 1, 2, 5)))
    if random_.random() < 0.8 and name != "listen":
        args += ["--routes", random_.choice(SNAPSHOTS)]
    if name == "replay" and random_.random() < 0.8:
        args.append("--dry-run")
    if name == "listen":
        args += ["--for", "0.05"]
    for flag, each in random_.sample(known, min(len(known), random_.choice((0, 1, 2, 3, 6)))):
        args += [flag] if each.is_flag else [flag, _value(random_, each)]
    if random_.random() < 0.1:
        random_.shuffle(args)
    env = {}
    for variable in random_.sample(ENVIRONMENT, random_.choice((0, 0, 1, 2))):
        odd = ("", "dumb", "xterm", "utf-8") if variable in SAFE else VALUES
        env[variable] = random_.choice([value for value in odd if "\udcff" not in value])
    toml = random_.choice(TOML) if random_.random() < 0.15 else ""
    stdin = random_.choice(["/dev/null", "ten.log", "cut.gz", "bytes.log"])
    args = [each for each in args if "\0" not in each]
    return Case(args, env, toml, stdin)


def fault(case: Case, folder: Path) -> str:
    """Run a command line; returns what is wrong with how it ended, if anything is."""
    (folder / "logstatsd.toml").unlink(missing_ok=True)
    if case.toml:
        (folder / "logstatsd.toml").write_text(case.toml)
    with (folder / case.stdin).open("rb") as stdin:
        try:
            done = subprocess.run(
                [*COMMAND, *(os.fsencode(each) if "\udcff" in each else each for each in case.args)],
                stdin=stdin, capture_output=True, cwd=folder, timeout=TIME_LIMIT_S, check=False,
                env={**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder), **case.env},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"it went on for more than {TIME_LIMIT_S:.0f} s"
    said = done.stderr.decode("utf-8", "replace")
    if "Traceback (most recent call last)" in said or "Error in sys.excepthook" in said:
        return said[-1_500:]
    return "" if done.returncode in DOCUMENTED else f"exit code {done.returncode}: {said[-500:]}"


def run_cases(seed: int, commands: int, seconds: float) -> list[str]:
    """Run so many command lines, or as many as there is time for; returns those that ended badly, and how."""
    forget_settings()
    random_, found, until_s = random.Random(seed), [], time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        logs = write_files(Path(name))
        for _ in range(commands):
            if time.monotonic() > until_s:
                break
            case = make_case(random_, logs)
            if wrong := fault(case, Path(name)):
                found.append(f"{case}\n{wrong}\n")
    return found


def main() -> int:
    """Run as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=86_400.0)
    asked = parser.parse_args()
    found = run_cases(asked.seed, asked.commands, asked.seconds)
    print(*found, f"{len(found)} of {asked.commands} ended badly", sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
