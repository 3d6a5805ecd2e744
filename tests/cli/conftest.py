"""A folder with some apps and some logs, in which the command is run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sample
from command import COMMAND
from places import SAMPLE_LOGS

from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    """Work in the folder; forget the apps that are imported in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield folder
    for name in APPS:
        sys.modules.pop(name, None)


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


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """`--routes FILE` for the sample app."""
    path = tmp_path_factory.mktemp("routes") / "routes.json"
    path.write_text(dump_snapshot(sample.loaded().snapshot()))
    return "--routes", str(path)
