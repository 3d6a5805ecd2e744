"""Import the app that a spec names, isolated, and explain in one line what went wrong."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import flask.cli
from flask.cli import NoAppException, find_best_app, load_dotenv, prepare_import
from werkzeug.routing import Map

from logstatsd.errors import AppError
from logstatsd.text import one_line

if TYPE_CHECKING:
    from types import ModuleType

# How many wrappers may be around an app.
DEEPEST = 20
WRAPPERS = ("app", "wsgi_app", "application", "wrapped_app")
FIRST_TRIED = ("wsgi.py", "app.py")

NO_APP = (
    "no app given: use --app MODULE or --app path/to/app.py:app, set FLASK_APP, or run where there is a"
    " wsgi.py or app.py"
)


class Mounted(NamedTuple):
    """An object with a url_map under its prefix; `app` is None where something else answers."""

    prefix: str
    app: Any


def load_spec(spec: str) -> Any:
    """Import the object that a spec names, as Flask's `--app` takes it; "" is FLASK_APP, or what is found."""
    with isolated():
        load_dotenv()
        spec = spec or os.environ.get("FLASK_APP", "")
        if spec:
            return _load(spec)
        for path in FIRST_TRIED:
            if Path(path).is_file():
                return _load(path)
    raise AppError(NO_APP)


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Keep an import off our stdout, even what writes to fd 1, and an unguarded app.run() from serving."""
    before = os.environ.get("FLASK_RUN_FROM_CLI")
    os.environ["FLASK_RUN_FROM_CLI"] = "true"
    _flush()
    try:
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # a daemon may have neither
        saved = -1
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _flush()
        if saved >= 0:
            os.dup2(saved, 1)
            os.close(saved)
        if before is None:
            del os.environ["FLASK_RUN_FROM_CLI"]
        else:
            os.environ["FLASK_RUN_FROM_CLI"] = before


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError):  # the latter where the app has closed it
        sys.stdout.flush()


def _load(spec: str) -> Any:
    path, name = _split(spec)
    with explained(spec, path):
        module = _imported(path)
        if name:
            return _evaluated(module, name, spec)
        try:
            return find_best_app(module)
        except NoAppException as error:
            for attribute in FIRST_NAMES:
                if mounted_apps(getattr(module, attribute, None)):
                    return getattr(module, attribute)
            raise AppError(f"{spec}: {one_line(error.message)}") from None


FIRST_NAMES = ("app", "application")


def _split(spec: str) -> tuple[str, str]:
    """Split off the name from a module or path; a colon before a slash belongs to a path (C:\\web.py)."""
    at = spec.find(":")
    while at >= 0 and spec[at + 1 : at + 2] in {"\\", "/"}:
        at = spec.find(":", at + 1)
    return (spec, "") if at < 0 else (spec[:at], spec[at + 1 :].strip())


def _imported(path: str) -> ModuleType:
    if path.endswith(".py") and not Path(path).is_file():
        raise AppError(f"{path}: there is no such file; give the app's file, or its module's name")
    name = prepare_import(path)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise AppError(
                f"{path}: there is no module {error.name!r} here ({Path.cwd()}) or in {sys.prefix};"
                " run where the app is, or give a path to its file"
            ) from None
        raise


def _evaluated(module: ModuleType, name: str, spec: str) -> Any:
    """Evaluate `app`, `factory`, `factory("x", debug=True)` as Flask does, and `obj.attr`, as it does not."""
    try:
        expression = ast.parse(name, mode="eval").body
        called = isinstance(expression, ast.Call)
        reference = expression.func if isinstance(expression, ast.Call) else expression
        arguments: list[Any] = []
        keywords: dict[str, Any] = {}
        if isinstance(expression, ast.Call):
            arguments = [ast.literal_eval(each) for each in expression.args]
            keywords = {each.arg: ast.literal_eval(each.value) for each in expression.keywords if each.arg}
        names = _dotted(reference)
    except (SyntaxError, ValueError):
        raise AppError(f"{spec}: {name!r} is neither a name nor a call with plain values") from None
    found: Any = module
    for each in names:
        if not hasattr(found, each):
            raise AppError(f"{spec}: {module.__name__} has no {each!r}{_meant(module)}")
        found = getattr(found, each)
    if called or inspect.isfunction(found):
        try:
            inspect.signature(found).bind(*arguments, **keywords)
        except (TypeError, ValueError) as error:
            raise AppError(f"{spec}: the factory cannot be called so: {error}") from None
        return found(*arguments, **keywords)
    return found


def _dotted(reference: ast.expr) -> list[str]:
    if isinstance(reference, ast.Name):
        return [reference.id]
    if isinstance(reference, ast.Attribute):
        return [*_dotted(reference.value), reference.attr]
    raise ValueError(reference)


def _meant(module: ModuleType) -> str:
    apps = [name for name, value in vars(module).items() if not name.startswith("_") and has_url_map(value)]
    return f"; did you mean {', '.join(apps)}?" if apps else ""


@contextlib.contextmanager
def explained(spec: str, path: str) -> Iterator[None]:
    """Turn whatever an app's import may raise into one line."""
    try:
        yield
    except (AppError, KeyboardInterrupt):
        raise
    except NoAppException as error:
        raise AppError(f"{spec}: {one_line(error.message)}") from None
    except SystemExit as error:
        remedy = _GUARD if _ran_as_program(error) else "set what it needs"
        raise AppError(
            f"{spec}: the app called sys.exit({one_line(repr(error.code))}) while it was imported"
            f"{_place(error)}; {remedy}"
        ) from error
    except ModuleNotFoundError as error:
        raise AppError(
            f"{spec}: the app needs {error.name!r}{_place(error)}, which is not installed in {sys.prefix};"
            " install it there: logstatsd must run in the app's own environment"
        ) from error
    except BaseException as error:
        raise AppError(
            f"{spec}: importing {path} failed with {type(error).__name__}: {one_line(error)}"
            f"{_place(error)}; {_GUARD if _ran_as_program(error) else _ELSE}"
        ) from error


_GUARD = "it ran as a program: guard that with if __name__ == '__main__'"
_ELSE = "it must import here as it does where it is served"

PROGRAMS = frozenset(
    (
        *("argparse", "optparse", "click", "docopt", "fire", "typer", "unittest", "socketserver", "wsgiref"),
        *("werkzeug.serving", "waitress", "gunicorn", "gevent.pywsgi", "eventlet.wsgi", "cheroot", "tornado"),
        *("bjoern", "flask_socketio", "uvicorn", "hypercorn"),
    )
)
"""Modules for command lines and servers: where an import fails in one, the app has run as a program."""


def _ran_as_program(error: BaseException) -> bool:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "main":
            return True
        module = str(frame.f_globals.get("__name__", ""))
        if not PROGRAMS.isdisjoint((module, module.partition(".")[0])):
            return True
    return False


def _place(error: BaseException) -> str:
    """Find where the app raised it: its own innermost line, not that of a library that it called."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    homes = [(_home(frame.filename), frame) for frame in traceback.extract_tb(error.__traceback__)]
    first = next((home for home, _ in homes if home is not None), None)
    frames = [frame for home, frame in homes if home is not None and home == first]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _home(filename: str) -> str | None:
    """Find the installed package that a file is of: "" for the app's own, None for Flask's and the like."""
    path = Path(filename)
    for folder in path.parents:
        if folder.name in {"site-packages", "dist-packages"}:
            package = path.relative_to(folder).parts[0]
            return None if filename == flask.cli.__file__ or package == "click" else str(folder / package)
    ours = (sysconfig.get_path("stdlib"), str(Path(__file__).parent.parent), "<")
    return None if filename.startswith(ours) else ""


def has_url_map(candidate: object) -> bool:
    return isinstance(_attribute(candidate, "url_map"), Map)


def _attribute(candidate: Any, name: str) -> Any:
    """Get an attribute or None, of objects that may be anything: flask.request fails outside of a request."""
    try:
        return getattr(candidate, name, None)
    except Exception:
        return None


def mounted_apps(candidate: Any, prefix: str = "") -> list[Mounted]:
    """List the apps that a WSGI callable consists of, the outermost first; empty if there is none in it.

    Looks through what wraps an app (ProxyFix and the like), and into what mounts several
    (DispatcherMiddleware), also where that stands inside, as the app's own `wsgi_app`.
    """
    found: dict[str, Mounted] = {}
    _collect(candidate, prefix, found, [])
    return list(found.values()) if any(each.app is not None for each in found.values()) else []


def _collect(candidate: Any, prefix: str, found: dict[str, Mounted], seen: list[Any]) -> bool:
    """Note what is mounted at a prefix and below; whether anything answers at the prefix itself."""
    if candidate is None or len(seen) > DEEPEST or any(candidate is each for each in seen):
        return False
    seen = [*seen, candidate]
    owner = _attribute(candidate, "__self__")
    if owner is not None and has_url_map(owner):  # app.wsgi_app, unwrapped
        found.setdefault(prefix, Mounted(prefix, owner))
        return True
    mounts = _attribute(candidate, "mounts")
    if isinstance(mounts, Mapping):
        for at, app in mounts.items():
            below = prefix + str(at).encode("latin-1", "replace").decode("utf-8", "replace").rstrip("/")
            if not _collect(app, below, found, seen):
                found.setdefault(below, Mounted(below, None))
        return _collect(_attribute(candidate, "app"), prefix, found, seen)
    if has_url_map(candidate):
        if "wsgi_app" in (_attribute(candidate, "__dict__") or ()):
            _collect(candidate.wsgi_app, prefix, found, seen)
        found.setdefault(prefix, Mounted(prefix, candidate))
        return True
    return any(_collect(_attribute(candidate, name), prefix, found, seen) for name in WRAPPERS)
