"""The command, run in this process or in one of its own, with the same environment on every machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from logstatsd.cli import cli

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from click.testing import Result

COMMAND = (str(Path(sys.executable).with_name("logstatsd")),)
"""The command as it is installed."""

MODULE = (sys.executable, "-m", "logstatsd")
FLASK = (str(Path(sys.executable).with_name("flask")),)

COLUMNS = 80
SETTINGS = re.compile(
    r"LOGSTATSD_(?!TEST_|SCANNER)|FLASK_|DD_|DATADOG_|NO_COLOR$|FORCE_COLOR$|PYTHON(UNBUFFERED|IOENCODING)$"
)
"""What the command and its clients read from the environment, but for the scanner: tests run with each."""


def forget_settings() -> None:
    """Unset what the command reads: whoever runs the tests may have an Agent, or a narrow terminal."""
    for name in filter(SETTINGS.match, [*os.environ]):
        del os.environ[name]
    os.environ["COLUMNS"] = str(COLUMNS)


def invoke(*arguments: object, stdin: bytes = b"", columns: int = COLUMNS, code: int | None = 0) -> Result:
    """Run the command in this process. It has to end with `code`; with None, it may end with any."""
    runner = CliRunner(env={"COLUMNS": str(columns)})
    done = runner.invoke(
        cli, [str(each) for each in arguments], input=stdin, prog_name="logstatsd", catch_exceptions=False
    )
    assert code in (None, done.exit_code), done.output
    return done


def modules(*arguments: object) -> set[str]:
    """The modules that a command imports."""
    done = run(*arguments, command=[sys.executable, "-X", "importtime", "-m", "logstatsd"])
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}


def run(
    *arguments: object,
    command: Sequence[str] = COMMAND,
    env: Mapping[str, str] | None = None,
    code: int | None = 0,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with `env` added to the environment; `code` as in `invoke`."""
    done = subprocess.run(
        [*command, *map(str, arguments)],
        **{"capture_output": True, "text": True, "timeout": 60, **options},
        env={**os.environ, **(env or {})},
        check=False,
    )
    assert code in (None, done.returncode), done.stderr
    return done
