"""Read log formats from the servers' own configuration: nginx.conf and gunicorn.conf.py."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

from logstatsd.errors import FormatError, InputError
from logstatsd.formats.logformat import LogFormat, parse_layout
from logstatsd.formats.presets import FORMATS, GUNICORN_DEFAULT

_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", '"': '"', "'": "'", "\\": "\\"}


def formats_of(given: str) -> tuple[list[LogFormat], str]:
    """List the formats that a configuration file logs in, and give what to say of them.

    `given` is a path, of nginx's configuration maybe with `:name` of a log_format. Without a name these are
    the formats that `access_log` uses, most used first. Raises InputError and FormatError.
    """
    path, name = given, ""
    if not Path(path).exists():
        path, _, name = given.rpartition(":")
    if not path or not Path(path).is_file():
        raise InputError(
            f"{given}: there is no such file; give --log-format @nginx.conf or @gunicorn.conf.py"
        )
    return _of_gunicorn(path) if path.endswith(".py") else _of_nginx(path, name)


# --- nginx ----------------------------------------------------------------------------------------------


def _of_nginx(path: str, name: str) -> tuple[list[LogFormat], str]:
    known = {"combined": FORMATS["combined"].log_format}
    used: dict[str, int] = {}
    for directive in _directives(path):
        args = directive["args"]
        if directive["directive"] == "log_format" and args:
            known[args[0]] = _log_format(path, args)
        elif directive["directive"] == "access_log" and args and args[0] != "off":
            format_name = args[1] if len(args) > 1 and "=" not in args[1] else "combined"
            used[format_name] = used.get(format_name, 0) + 1
    names = [name] if name else sorted(used, key=lambda each: -used[each])
    if not names:  # a file that is included elsewhere
        names = [each for each in known if each != "combined"]
    found = [known[each] for each in names if each in known]
    if not found:
        have = ", ".join(known)
        raise FormatError(f"{path}: there is no log_format {' or '.join(names) or 'at all'}; it has: {have}")
    if name:
        found[0].validate()
    usable = [each for each in found if _is_usable(each)] or found
    usable[0].validate()
    others = f", the best fitting of {', '.join(each.name for each in usable)}" if len(usable) > 1 else ""
    return usable, f"from the log_format of {path}{others}"


def _is_usable(log_format: LogFormat) -> bool:
    try:
        log_format.validate()
    except FormatError:
        return False
    return True


def _directives(path: str) -> list[dict[str, Any]]:
    """List every directive of a configuration and of what it includes."""
    try:
        crossplane = importlib.import_module("crossplane")
    except ImportError:
        raise FormatError(
            f"{path}: reading nginx's configuration needs crossplane: pip install 'logstatsd[nginx]'; "
            "or give the log_format itself by --log-format"
        ) from None
    parsed = crossplane.parse(path, check_ctx=False, check_args=False)
    own = parsed["config"][0]
    if own["errors"] and not own["parsed"]:
        raise InputError(f"{path}: {own['errors'][0]['error']}")
    found: list[dict[str, Any]] = []
    waiting = [directive for config in parsed["config"] for directive in config["parsed"]]
    while waiting:
        directive = waiting.pop(0)
        found.append(directive)
        waiting = [*directive.get("block", ()), *waiting]
    return found


def _log_format(path: str, args: list[str]) -> LogFormat:
    """Parse `log_format name [escape=…] string …;`."""
    name, *parts = args
    escape = "default"
    if parts and parts[0].startswith("escape="):
        escape = parts.pop(0).partition("=")[2]
    if escape not in ("default", "json", "none"):
        raise FormatError(f"{path}: log_format {name} has an escape that is not understood: {escape!r}")
    layout = re.sub(r"\\([tnr\"'\\])", lambda match: _ESCAPES[match[1]], "".join(parts))
    return LogFormat(name, layout, "nginx", escape=escape)


# --- gunicorn -------------------------------------------------------------------------------------------


def _of_gunicorn(path: str) -> tuple[list[LogFormat], str]:
    layout, note = _literal(path), f"from the access_log_format of {path}"
    if layout is None:
        layout, note = _by_gunicorn(path), f"from {path}, as gunicorn itself loads it"
    if layout == GUNICORN_DEFAULT:
        note = f"gunicorn's default, since {path} sets no access_log_format"
    return [parse_layout(layout, "gunicorn.conf.py")], note


def _literal(path: str) -> str | None:
    """Find the access_log_format, where that can be told without running the file; None where it cannot."""
    try:
        tree = ast.parse(Path(path).read_bytes(), path)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{path}: not Python: {error}") from None
    layout: str | None = GUNICORN_DEFAULT
    for statement in tree.body:
        names = [
            target.id
            for target in getattr(statement, "targets", [getattr(statement, "target", None)])
            if isinstance(target, ast.Name)
        ]
        if "access_log_format" in names:
            layout = _text(getattr(statement, "value", None))
        elif not isinstance(
            statement, ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.Expr | ast.Import
        ) and ("access_log_format" in ast.unparse(statement)):
            layout = None
    return layout


def _text(value: ast.expr | None) -> str | None:
    """Evaluate a string, or the sum of strings."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        left, right = _text(value.left), _text(value.right)
        return None if left is None or right is None else left + right
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _by_gunicorn(path: str) -> str:
    """Ask gunicorn for the access_log_format that it has once it has run the file."""
    try:
        base = importlib.import_module("gunicorn.app.base")
    except ImportError:
        raise FormatError(
            f"{path}: its access_log_format is not a plain string, and gunicorn is not installed to load it; "
            "give the string itself by --log-format"
        ) from None

    class Loader(base.Application):  # type: ignore[name-defined, misc]
        def init(self, *_: object) -> None: ...

        def load_config(self) -> None:
            self.load_default_config()
            self.load_config_from_file(path)

    try:
        return str(Loader().cfg.access_log_format)
    except SystemExit:
        raise InputError(f"{path}: gunicorn cannot load it") from None
