"""SCANNERS: what reads the lines of a log, and which of them does."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from logstatsd.formats.logformat import LogFormat
    from logstatsd.routing.router import Router
    from logstatsd.scan.native import NativeScanner
    from logstatsd.scan.scanner import Scanner

    AnyScanner = Scanner | NativeScanner


VARIABLE: Final = "LOGSTATSD_SCANNER"


class ScannerEntry(NamedTuple):
    """A scanner: `module` has `make(log_format, router, *, window, bucket_s, bounded)`, imported at need.

    That raises ValueError for what it does not know, which the Python scanner then gets. WHY_NOT there tells
    why it cannot run here, if it cannot.
    """

    about: str
    module: str

    @property
    def why_not(self) -> str:
        """Why it cannot run here; empty if it can."""
        return str(import_module(self.module).WHY_NOT)


SCANNERS: Final[dict[str, ScannerEntry]] = {
    "native": ScannerEntry("the compiled scanner", "logstatsd.scan.native"),
    "python": ScannerEntry("the Python scanner", "logstatsd.scan.scanner"),
}


class Choice(NamedTuple):
    """The scanner that runs, a key of SCANNERS, and why it does."""

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
    if asked == "auto":
        best = next(known for known, entry in SCANNERS.items() if not entry.why_not)
        why = "compiled, in threads" if best == "native" else "the compiled scanner is not installed"
        return Choice(best, why)
    if asked not in SCANNERS:
        raise OptionError(f"{place}: {asked!r} must be one of auto, {', '.join(SCANNERS)}")
    if why_not := SCANNERS[asked].why_not:
        raise OptionError(
            f"{place}: {SCANNERS[asked].about} is not installed ({why_not}); "
            "install logstatsd where cargo and a C compiler are, or use --scanner python"
        )
    return Choice(asked, f"chosen by {place}")


def describe(name: str = "") -> str:
    """The scanner that runs and why, for a person. Raises OptionError."""
    return str(choose_scanner(name))


def make_scanner(log_format: LogFormat, router: Router, *, scanner: str = "", **options: Any) -> AnyScanner:
    """A scanner for a format: the one chosen, or the Python scanner for what the compiled one does not know.

    Raises OptionError.
    """
    entry = SCANNERS[choose_scanner(scanner).name]
    try:
        made: AnyScanner = import_module(entry.module).make(log_format, router, **options)
    except ValueError:  # a format, a prefix or an app that it was not made for
        made = import_module(SCANNERS["python"].module).make(log_format, router, **options)
    return made
