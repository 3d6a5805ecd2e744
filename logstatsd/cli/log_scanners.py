"""LogScanners: a scanner for each log that is read on from where it was left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logstatsd.cli.console import say
from logstatsd.errors import FormatError
from logstatsd.formats.detect import detect
from logstatsd.formats.known import FormatChoice
from logstatsd.scan.stretches import FormatChanges, StretchScanner

if TYPE_CHECKING:
    from logstatsd.cli.options import FormatOptions
    from logstatsd.formats.logformat import LogFormat
    from logstatsd.model.batch import Batch
    from logstatsd.routing.router import Router


class LogScanners:
    """A scanner for each log that is read on from where it was left, in the format that it had there."""

    def __init__(
        self, router: Router, formats: FormatOptions, *, scanner: str = "", bucket_s: int = 0, quiet: bool
    ) -> None:
        self._router, self._formats, self._bucket_s, self._quiet = router, formats, bucket_s, quiet
        self._scanner_name = scanner
        self._scanners: dict[str, StretchScanner] = {}
        self.changes = FormatChanges()

    def scan(self, log: str, data: bytes, offset: int, known: LogFormat | None = None) -> Batch:
        """Tally the next lines of a log, which begin at byte `offset`; `known` is its format so far."""
        scanner = self._scanners.get(log)
        if scanner is None:
            choice = self._choice(log, data, known)
            scanner = StretchScanner(
                choice, self._router, bucket_s=self._bucket_s, scanner=self._scanner_name
            )
            self._scanners[log] = scanner
            if choice.first:
                self.changes.begin(log, choice.first)
        batch, stretches = scanner.scan(data)
        for text in self.changes.note(log, batch.counts.lines, stretches, offset=offset):
            say(text, quiet=self._quiet)
        return batch

    def _choice(self, log: str, data: bytes, known: LogFormat | None) -> FormatChoice:
        """The format given, or the one known of an earlier run, or what the first lines show, if anything."""
        given, roles = self._formats.log_format, self._formats.roles()
        choice = FormatChoice(None if given else known, fixed=bool(given), roles=tuple(roles.items()))
        if choice.first is None:
            try:
                detected = detect(data, log, given=given, fields=roles)
            except FormatError:
                if given:
                    raise
                return choice
            if detected.note:
                say(f"{log}: {detected.note}", quiet=self._quiet)
            choice = choice._replace(first=detected.log_format)
        for role, name in roles.items():
            if choice.first:
                choice = choice._replace(first=choice.first.assign(role, name))
        return choice
