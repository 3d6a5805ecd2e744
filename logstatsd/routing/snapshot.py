"""Read and write the snapshot that stands in for an app: its routes as plain, versioned data.

Top level: `logstatsd_routes` (the version), `app_name`, `werkzeug` (its version) and `mounts`, each with

- `prefix`, "" for an app that is not mounted, and `binding`: what of a request's Host its map looks at
  (`to` is "fixed", "host", or "subdomain" of `name`);
- `merge_slashes` of the map, and in `werkzeug` how the installed release does what others do differently;
- `rules`, in the order in which Werkzeug's tree of them is walked, or null where something else answers.

A rule has its `rule`, `endpoint`, `methods` (null for any), `domain` (its host or subdomain), the flags that
are not Flask's defaults, `redirects` (an alias, or redirect_to), and

- `parts`: the host, then what is between slashes; text, or a `pattern` with the `groups` of its variables
  ([1] if not given), `final` if it takes all that follows, `suffixed` if a last slash is apart, and the
  `weight` by which Werkzeug sorts parts and tells them from each other;
- `converters`, in order: `name` of the variable, name of the `converter`, and its `value`: "text", "uuid",
  "int" or "float" with bounds, or "custom" with the `class` whose to_python only the app can run;
- `default_redirects`: the `methods` and, in `when`, the values for which Werkzeug redirects to another rule
  of the endpoint that has them as defaults.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from logstatsd.errors import AppError
from logstatsd.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: The version of the snapshot's shape, under the key that tells such a file from any other JSON.
VERSION: Final = 1
KEY: Final = "logstatsd_routes"

AGAIN: Final = "make it again with `logstatsd routes --app APP -o FILE`"


def read_snapshot(path: str | Path) -> dict[str, Any]:
    """Read a snapshot; what is wrong with it, or with the file, is one line."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib's import costs more than this file's reading
            data = json.loads(file.read())
    except OSError as error:
        raise AppError(f"{path}: cannot read the routes: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise AppError(f"{path}: not a snapshot of routes, since not JSON ({error}); {AGAIN}") from None
    if not isinstance(data, dict) or KEY not in data:
        raise AppError(f"{path}: not a snapshot of routes: it has no {KEY!r}; {AGAIN}")
    check_version(data, str(path))
    return data


def check_version(data: dict[str, Any], name: str = "snapshot of routes") -> None:
    """Refuse a snapshot that was written in another version of this form."""
    version = data.get(KEY)
    if version == VERSION and type(version) is int:
        return
    if isinstance(version, int) and version > VERSION:
        raise AppError(
            f"{name}: made by a newer logstatsd (routes of version {one_line(version, 20)}, this one reads"
            f" {VERSION}); upgrade logstatsd here, or {AGAIN}"
        )
    shown = one_line(repr(version), 80)
    raise AppError(f"{name}: version {shown} of the routes is not understood, only {VERSION}; {AGAIN}")


def text_of(data: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A text of a snapshot. Raises KeyError, TypeError, and ValueError for half a surrogate pair."""
    value = data[key] if default is None else data.get(key, default)
    if not isinstance(value, str):
        raise TypeError(f"{key!r} must be text, not {type(value).__name__}")
    value.encode()
    return value


def dump_snapshot(data: dict[str, Any]) -> str:
    """Write a snapshot as text: sorted keys, one item a line, so that a diff shows a route's change alone."""
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
