"""Replay logs once, from their beginning to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logstatsd.cli.console import account as tell_of_logs
from logstatsd.cli.inputs import open_run, refuse_misfits, tallies, tell_losses
from logstatsd.cli.options import HALF_OF_MANY
from logstatsd.cli.outcome import Account
from logstatsd.cli.request import BATCH_LINES
from logstatsd.cli.sender import refuse_undated, refuse_untimed
from logstatsd.errors import UndeliveredError
from logstatsd.scan.merge import in_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.cli.request import Request
    from logstatsd.cli.sender import Sender
    from logstatsd.scan.run import Piece, Run


def replay_once(paths: tuple[str, ...], asked: Request) -> int:
    """Send what the logs hold. Raises UnreachableError, UndeliveredError and all that reading them may."""
    quiet = asked.telling.quiet
    with Account(asked) as account:
        sender = account.open()
        run = open_run(
            paths, sender.router, asked.formats, asked.lines,
            quiet=quiet, batch_lines=BATCH_LINES, bucket_s=asked.bucket_s,
        )  # fmt: skip
        for log in run.logs:
            if log.detected:
                refuse_undated(log.source.name, log.log_format, run.bucket_s)
        lines = account.counted.lines
        try:
            failure = _send(run, sender, quiet=quiet or asked.telling.dry_run)
        except BaseException:
            tell_losses(run, lines)
            tell_of_logs(run, sender.settler, lines, quiet=True)
            raise
        lost = tell_losses(run, lines)
        refuse_misfits(run, lines)
        tell_of_logs(run, sender.settler, lines, quiet=quiet)
        if not quiet:
            sender.outcomes.tell(sender.router, asked.app, run)
        if failure:
            raise failure
        refuse_untimed(run.changes)
        asked.lines.limit(HALF_OF_MANY).check(lines, ", ".join(paths))
        account.tell()
    return lost


def _send(run: Run, sender: Sender, *, quiet: bool) -> UndeliveredError | None:
    """Send all pieces of a run; returns what went wrong with the delivery, if anything did."""
    try:
        for piece in tallies(run, sender.settler, quiet=quiet, pieces=_pieces(run)):
            sender.send(piece.batch)
    except UndeliveredError as error:
        return error
    return sender.finish()


def _pieces(run: Run) -> Iterator[Piece]:
    """One log after the other; where time matters, as they were written side by side."""
    return in_time(run) if run.bucket_s and len(run.logs) > 1 else run.pieces()
