"""Loading an app, by every spec that Flask takes and some more, and asking it what only it can tell."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, current_app
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter, ValidationError

from logstatsd.errors import AppError
from logstatsd.model.route import UNMATCHED, Route, Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[..., None]

SHOP = """
    from flask import Flask
    app = Flask("shop", static_folder=None)
    app.add_url_rule("/x", "x", lambda: "")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """`write("shop.py", text)` writes where we are, an empty directory; its modules are forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("FLASK_APP", raising=False)
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        for module in set(sys.modules) - before:
            if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
                del sys.modules[module]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    yield write
    write("done", "")


def rules_of(*specs: str) -> list[str]:
    return [route.rule for route in Router(apps.load(specs).snapshot()).routes]


@pytest.mark.parametrize(
    "spec",
    [
        "shop_a",
        "shop_a.py",
        "./shop_a.py:app",
        "shop_a:app",
        "shop_a:create",
        "shop_a:create()",
        "shop_a:create('x', debug=True)",
        "shop_a:holder.inner.app",
        "shop_a:wrapped",
        "shop_a:holder.make()",
        "pkg.sub.web",
        "pkg/sub/web.py:app",
    ],
)
def test_an_app_is_found_by_every_spec_that_flask_takes_and_some_more(spec: str, write: Write) -> None:
    extra = """
        from types import SimpleNamespace
        from werkzeug.middleware.proxy_fix import ProxyFix
        def create(name="y", debug=False):
            return app
        wrapped = ProxyFix(app.wsgi_app)
        holder = SimpleNamespace(inner=SimpleNamespace(app=app), make=lambda: wrapped)
    """
    write("shop_a.py", textwrap.dedent(SHOP) + textwrap.dedent(extra))
    write("pkg/__init__.py", "")
    write("pkg/sub/__init__.py", "")
    write("pkg/sub/web.py", SHOP)
    assert rules_of(spec) == ["/x"]


def test_without_a_spec_flask_app_and_then_the_usual_files_are_tried(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AppError, match="no app given"):
        apps.load([])
    write("app.py", SHOP)
    assert rules_of() == ["/x"]
    write("other.py", SHOP.replace("/x", "/other"))
    monkeypatch.setenv("FLASK_APP", "other:app")
    assert rules_of() == ["/other"]


def test_several_apps_have_each_its_prefix(write: Write) -> None:
    write("one.py", SHOP)
    write("two.py", SHOP.replace('"shop"', '"two"'))
    loaded = apps.load(["/one=one:app", "/two/=two.py"])
    assert loaded.app_name == "shop"
    assert [route.rule for route in Router(loaded.snapshot()).routes] == ["/one/x", "/two/x"]
    with pytest.raises(AppError, match="two apps at one prefix"):
        apps.load(["one", "two"])


@pytest.mark.parametrize(
    ("spec", "text", "says"),
    [
        ("nowhere", "", "there is no module 'nowhere' here"),
        ("nowhere.py", "", "there is no such file"),
        ("bad:app", "import not_installed_xyz", "needs 'not_installed_xyz' ("),
        ("bad:app", "import not_installed_xyz", "bad.py:1), which is not installed in"),
        ("bad:app", "def f(:", "SyntaxError"),
        ("bad:app", "import os\nos.environ['NO_SUCH_XYZ']", "KeyError: 'NO_SUCH_XYZ' ("),
        ("bad:app", "import os\nos.environ['NO_SUCH_XYZ']", "bad.py:2)"),
        ("bad:app", "import sys\nsys.exit('set DB_URL')", "called sys.exit('set DB_URL')"),
        ("bad:app", "raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("bad:app", "app = 7", "not a Flask app but 'int'"),
        ("bad:nope", SHOP, "bad has no 'nope'; did you mean app?"),
        ("bad:nope", "from flask import current_app, request\nx = 1", "bad has no 'nope'"),
        ("bad:app.nope", SHOP, "bad has no 'nope'"),
        ("bad:1 +", SHOP, "neither a name nor a call"),
        ("bad:make(app)", SHOP, "neither a name nor a call"),
        ("bad:make(1)", "def make(): pass", "the factory cannot be called so: too many positional"),
        ("bad:make", "def make(): return None", "not a Flask app but 'NoneType'"),
        ("bad:make", "def make():\n    raise ValueError('no key')", "ValueError: no key ("),
        ("bad", "x = 1", "Failed to find Flask application or factory in module 'bad'"),
        ("bad", "from flask import Flask\na = Flask('a')\nb = Flask('b')", "multiple Flask applications"),
    ],
)
def test_what_goes_wrong_is_one_line(spec: str, text: str, says: str, write: Write) -> None:
    write("bad.py", text)
    with pytest.raises(AppError) as raised:
        apps.load([spec])
    assert says in str(raised.value)
    assert spec in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_import_neither_prints_on_stdout_nor_serves(tmp_path: Path) -> None:
    """Whatever it writes, by print or to the descriptor, goes to stderr; app.run() does nothing."""
    (tmp_path / "loud.py").write_text(
        "import os, sys, subprocess\nfrom flask import Flask\n"
        "print('printed')\nos.write(1, b'written\\n')\nsubprocess.run(['echo', 'from a child'])\n"
        "sys.__stdout__.write('kept back\\n')\n"
        "app = Flask('loud')\napp.run()\n"
    )
    code = "from logstatsd.routing import app; print(app.load(['loud']).app_name)"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FLASK_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout == "loud\n"
    for text in ("printed", "written", "from a child", "kept back"):
        assert text in done.stderr


def app_of(*rules: str) -> Flask:
    app = Flask("shop", static_folder=None)
    for rule in rules:
        app.add_url_rule(rule, rule, lambda **_: "")
    return app


class Other:
    """Some other WSGI application, or a wrapper of one."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __call__(self, environ: Any, start_response: Any) -> Any: ...


def labels(app: Any) -> list[str]:
    return [route.rule for route in Router(apps.from_object(app).snapshot()).routes]


def test_wrapped_apps_are_unwrapped() -> None:
    app = app_of("/x")
    assert labels(ProxyFix(app)) == ["/x"]
    assert labels(Other(application=ProxyFix(Other(wsgi_app=app.wsgi_app)))) == ["/x"]
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert labels(app) == ["/x"]
    assert labels(Other(url_map=app.url_map)) == ["/x"]  # as Quart's is


def test_what_an_app_mounts_inside_itself_is_found() -> None:
    app = app_of("/x")
    app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, {"/metrics": Other(), "/blog": app_of("/y")}
    )
    loaded = apps.from_object(app)
    router = Router(loaded.snapshot())
    assert {route.rule for route in router.routes} == {"/x", "/blog/y"}
    assert router.match("GET", b"/metrics").outcome == "not_the_app"  # type: ignore[union-attr]


def test_wrappers_without_an_app_and_in_circles_are_refused() -> None:
    circle = Other()
    circle.app = circle  # type: ignore[attr-defined]
    deep: Any = Other()
    for _ in range(1000):
        deep = Other(app=deep)
    for nothing in (circle, deep, Other(), None, DispatcherMiddleware(Other(), {"/a": Other()})):
        with pytest.raises(AppError, match="not a Flask app"):
            apps.from_object(nothing)


class Even(BaseConverter):
    asked = 0

    def to_python(self, value: str) -> int:
        Even.asked += 1
        if value == "gone":
            raise NotFound
        if value == "broken":
            raise RuntimeError("no database")
        assert current_app.name == "shop"
        if int(value) % 2:
            raise ValidationError
        return int(value)


def even_app() -> Flask:
    app = Flask("shop", static_folder=None)
    app.url_map.converters["even"] = Even
    app.add_url_rule("/even/<even:n>", "even", lambda n: "")
    app.add_url_rule("/also/<even:n>", "also", lambda n: "")
    return app


def test_only_a_converters_own_validation_is_asked_of_the_app() -> None:
    loaded = apps.from_object(even_app())
    router = Router(loaded.snapshot())
    assert router.rules[0].custom
    rule = Route("/even/<even:n>", "even", "matched")
    answers = {}
    for value in ("2", "3", "gone"):
        question = router.match("GET", f"/even/{value}".encode())
        assert isinstance(question, Undecided)
        assert question.fallback == rule
        answers[value] = loaded.resolve(question)
    assert answers == {"2": (rule, True), "3": (UNMATCHED, True), "gone": (UNMATCHED, True)}
    assert router.match("PUT", b"/even/2").outcome == "method_not_allowed"  # type: ignore[union-attr]


def test_a_converter_that_breaks_keeps_its_rules_and_is_not_asked_again() -> None:
    loaded = apps.from_object(even_app())
    router = Router(loaded.snapshot())
    Even.asked = 0
    for target, rule in ((b"/even/broken", "/even/<even:n>"), (b"/also/2", "/also/<even:n>")):
        question = router.match("GET", target)
        assert isinstance(question, Undecided)
        route, proven = loaded.resolve(question)
        assert (route.rule, proven) == (rule, False)
    assert Even.asked == 1
