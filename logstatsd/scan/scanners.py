"""SCANNERS: what reads the lines of a log, and which of them does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstatsd.errors import OptionError
from logstatsd.scan import native
from logstatsd.scan import scanner as python

if TYPE_CHECKING:
    from logstatsd.formats.logformat import LogFormat
    from logstatsd.routing.router import Router

AnyScanner = python.Scanner | native.NativeScanner

VARIABLE: Final = "LOGSTATSD_SCANNER"

SCANNERS: Final = {
    "auto": "the compiled scanner where it is installed and knows the format, else the Python scanner",
    "native": "the compiled scanner",
    "python": "the Python scanner",
}
"""The names that `--scanner` and LOGSTATSD_SCANNER take."""


class Choice(NamedTuple):
    """The scanner that runs, a key of SCANNERS other than `auto`, and why it does."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


def choose_scanner(name: str = "") -> Choice:
    """Which scanner runs: the one named, else the one in LOGSTATSD_SCANNER, else the best there is.

    Raises OptionError for an unknown name, and for the compiled scanner where it is not installed.
    """
    asked = name or os.environ.get(VARIABLE) or "auto"
    place = "--scanner" if name else VARIABLE
    if asked not in SCANNERS:
        raise OptionError(f"{place}: {asked!r} must be one of {', '.join(SCANNERS)}")
    if asked == "python":
        return Choice("python", f"chosen by {place}")
    if not native.WHY_NOT:
        return Choice("native", "compiled, in threads" if asked == "auto" else f"chosen by {place}")
    if asked == "native":
        raise OptionError(
            f"{place}: the compiled scanner is not installed ({native.WHY_NOT}); "
            "install logstatsd where cargo and a C compiler are, or use --scanner python"
        )
    return Choice("python", "the compiled scanner is not installed")


def describe(name: str = "") -> str:
    """The scanner that runs and why, for a person. Raises OptionError."""
    return str(choose_scanner(name))


def make_scanner(log_format: LogFormat, router: Router, *, scanner: str = "", **options: Any) -> AnyScanner:
    """A scanner for a format: the one chosen, or the Python scanner for what the compiled one does not know.

    Raises OptionError.
    """
    if choose_scanner(scanner).name == "native":
        try:
            return native.NativeScanner(log_format, router, **options)
        except ValueError:
            pass  # a format, a prefix or an app that it was not made for
    return python.Scanner(
        log_format, router, **{key: value for key, value in options.items() if key != "bounded"}
    )
