"""An app that cannot be imported: the line says where it failed, and the remedy is for what was the cause."""

from __future__ import annotations

import socket
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from logstatsd.errors import AppError
from logstatsd.routing import app_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GUARD = "if __name__ == '__main__'"


@pytest.fixture
def failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`failure(spec, **sources)` writes modules and says what loading the app says.

    A name that begins with `installed_` is written where packages are installed.
    """
    here, packages = tmp_path / "app", tmp_path / "lib" / "site-packages"
    for folder in (here, packages):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(spec: str, **sources: str) -> str:
        for name, source in sources.items():
            monkeypatch.delitem(sys.modules, name, raising=False)  # of another test
            folder = packages / name if name.startswith("installed_") else here / name
            folder.mkdir()
            (folder / "__init__.py").write_text(textwrap.dedent(source))
        with pytest.raises(AppError) as raised:
            app_process.load([spec])
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(spec)
        return str(raised.value)

    return load


def test_an_installed_apps_own_line_is_named(failure: Callable[..., str]) -> None:
    said = failure("installed_shop:app", installed_shop="x = 1\nopen('/no/such/settings')\n")
    assert "FileNotFoundError" in said
    assert "site-packages/installed_shop/__init__.py:2)" in said


def test_a_library_that_it_called_is_not(failure: Callable[..., str]) -> None:
    said = failure(
        "installed_shop:app",
        installed_shop="import json\nimport installed_lib\n\n\ninstalled_lib.connect(json.dumps({}))\n",
        installed_lib="import json\ndef connect(url):\n    json.loads('{')\n",
    )
    assert "installed_shop/__init__.py:5)" in said


def test_what_an_app_of_ones_own_called_is_not_either(failure: Callable[..., str]) -> None:
    said = failure(
        "shop_x:app",
        shop_x="import installed_lib\n\ninstalled_lib.connect()\n",
        installed_lib="def connect():\n    raise ConnectionError('no database')\n",
    )
    assert "app/shop_x/__init__.py:3)" in said


def test_a_module_that_an_installed_app_lacks_is_named_with_its_line(failure: Callable[..., str]) -> None:
    said = failure("installed_shop:app", installed_shop="\n\nimport not_installed_xyz\n")
    assert "needs 'not_installed_xyz' (" in said
    assert "installed_shop/__init__.py:3)" in said


@pytest.mark.parametrize(
    "source",
    [
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('file')\np.parse_args()",
        "import sys\ndef main():\n    sys.exit(0)\nmain()",
        "import click\n@click.command()\n@click.argument('file')\ndef serve(file): ...\nserve()",
        "import unittest\nunittest.main(module=None)",
        "from werkzeug.serving import run_simple\nrun_simple('127.0.0.1', PORT, lambda *_: [])",
        "from wsgiref.simple_server import make_server\nmake_server('127.0.0.1', PORT, None)",
    ],
)
def test_a_guard_is_advised_where_the_app_ran_as_a_program(source: str, failure: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = failure("shop_x:app", shop_x=source.replace("PORT", str(taken.getsockname()[1])))
    assert GUARD in said
    assert "app/shop_x/__init__.py:" in said


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.exit('set DB_URL')",
        "import sys\ndef check():\n    raise SystemExit(2)\ncheck()",
        "raise KeyError('DB_URL')",
        "raise KeyboardInterrupt",
        "def f(:",
        "import os\nos.environ['NO_SUCH_XYZ']",
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
    ],
)
def test_and_nowhere_else(source: str, failure: Callable[..., str]) -> None:
    assert GUARD not in failure("shop_x:app", shop_x=source)
