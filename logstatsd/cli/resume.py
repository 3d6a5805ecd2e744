"""`replay --resume` and `--follow`: send what was added to the logs, and remember how far."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from logstatsd.cli import signals
from logstatsd.cli.console import say, say_rejected, say_unproven
from logstatsd.cli.heartbeat import Heartbeat, Pulse
from logstatsd.cli.options import HALF_OF_MANY
from logstatsd.cli.outcome import NOTHING, Account
from logstatsd.cli.reading import followed
from logstatsd.cli.request import BATCH_LINES, Request
from logstatsd.delivery.encoders import ENCODERS
from logstatsd.errors import LogstatsdError, OptionError, StateError
from logstatsd.formats.logformat import LogFormat
from logstatsd.formats.servers import SERVERS
from logstatsd.model.batch import Batch
from logstatsd.model.line_counts import LineCounts
from logstatsd.tail.checkpoint import LogState, Store, default_path
from logstatsd.tail.follow import Control, follow
from logstatsd.tail.resume import resume, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from logstatsd.cli.replay import ResumeOptions
    from logstatsd.cli.sender import Sender
    from logstatsd.tail.plan import Portion


def replay_on(paths: tuple[str, ...], asked: Request, options: ResumeOptions) -> int:
    """Send what the logs hold beyond the checkpoint. Raises what reading, sending and the checkpoint may."""
    _refuse_partial_runs(asked)
    logs, destination = followed(paths), asked.destination.name()
    path = options.checkpoint or default_path(options.state_dir, paths, destination)
    with (
        Account(asked) as account,
        Store(path, destination, wait=options.wait) as store,
        Control() as control,
        signals.stoppable(control.stop, control.reopen) as stopped,
    ):
        states = {log: _known(log, store, options, quiet=asked.telling.quiet) for log in logs}
        delivery, failure = _Delivery(store, asked, account), None
        metrics = delivery.send_self_metrics if options.self_metrics else None
        heartbeat = Heartbeat(quiet=asked.telling.quiet, send_metrics=metrics) if options.follow else None
        with delivery:
            try:
                for portion in _unread(states, control, options, quiet=asked.telling.quiet):
                    if portion is not None:
                        delivery.take(portion)
                    if heartbeat:
                        heartbeat.beat(delivery.pulse)
                    if control.stopped():
                        break
                if options.self_metrics:
                    delivery.send_self_metrics(delivery.pulse)
            except LogstatsdError as error:
                failure = error
            delivery.conclude(failure)
    return stopped.exit_code


def _refuse_partial_runs(asked: Request) -> None:
    """Raise OptionError for what does not go with reading only what is new."""
    if asked.lines.since or asked.lines.until or asked.speed:
        raise OptionError(
            "--resume and --follow take all that is new; leave out --since, --until and --speed"
        )
    if not ENCODERS[asked.metrics.chosen_encoder].resumes:
        raise OptionError(
            "--backfill takes whole logs: where a run stops within ten seconds, the next would replace their "
            "points; leave out --resume and --follow"
        )
    if asked.telling.dry_run:
        raise OptionError("--dry-run sends nothing, so there is nothing to resume; leave one of them out")


def _known(log: str, store: Store, options: ResumeOptions, *, quiet: bool) -> LogState:
    """Where the last run stopped; for a log that is new, where the first one begins."""
    state = store.checkpoint.logs.get(log)
    if state is None:
        awaited = options.follow and not os.path.exists(log)  # noqa: PTH110
        state = LogState() if awaited else start(log, options.begins_at)
        store.save(store.checkpoint.with_log(log, state))
        how = "not there yet, waiting for it" if awaited else f"first run, from its {options.begins_at}"
        if options.skips_by_default and not awaited:
            how += "; --from start sends what it holds already"
        say(f"{log}: {how}", quiet=quiet)
    return state


def _unread(
    states: Mapping[str, LogState], control: Control, options: ResumeOptions, *, quiet: bool
) -> Iterator[Portion | None]:
    """The lines that were not sent yet, in portions; None where there are none for now."""
    if options.follow:
        remark = partial(say, quiet=quiet)
        until_eof = options.until_eof
        yield from follow(states, control, say, remark=remark, max_lines=BATCH_LINES, until_eof=until_eof)
        return
    for log, state in states.items():
        with resume(log, state) as reading:
            for note in reading.plan.notes:
                say(note)
            for remark_text in reading.plan.remarks:
                say(remark_text, quiet=quiet)
            yield from reading.portions(max_lines=BATCH_LINES, until_eof=options.until_eof)
        for note in reading.notes[len(reading.plan.notes) :]:
            say(note)


def _format_kept(data: Any, path: Path) -> LogFormat:
    """Make the format that the checkpoint holds. Raises StateError where it is none."""
    try:
        kept = LogFormat.from_data(data)
        texts = (kept.name, kept.layout, kept.server, kept.escape, *kept.envelopes, *sum(kept.assigned, ()))
        if not all(isinstance(text, str) for text in texts) or kept.server not in SERVERS:
            raise TypeError(data)
        _ = kept.tokens
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError):
        raise StateError(f"{path}: is not a checkpoint, and is left as it is; give another path") from None
    return kept


class _Held(NamedTuple):
    """A portion, tallied and not sent yet, since most of its lines were rejected."""

    portion: Portion
    batch: Batch


class _Delivery:
    """Sends portions, and moves the checkpoint once what it covers was flushed.

    Neither the app nor the server is looked for before there is a line to send. Portions most of whose lines
    are rejected are held back, until there are so many that the log's format must have changed, or until
    lines fit again: the checkpoint does not move past lines that the right format could still read.
    """

    def __init__(self, store: Store, asked: Request, account: Account) -> None:
        self._store, self._asked, self._account = store, asked, account
        self._limit = asked.lines.limit(HALF_OF_MANY)
        self._held: dict[str, list[_Held]] = {}
        self._remembered = 0

    @property
    def _sender(self) -> Sender | None:
        return self._account.sender

    @property
    def pulse(self) -> Pulse:
        """How far it has come."""
        return self._sender.pulse if self._sender else Pulse(self._account.counted.lines, NOTHING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Say how much the next run sends again, where this one fails."""
        again = self.pulse.totals.due - self._remembered
        if error and again:
            say(f"the checkpoint stays before the last {again:,} timings: the next run sends them again")

    def take(self, portion: Portion) -> None:
        """Send a portion, and move the checkpoint past it: a run that is killed repeats one, at most.

        Raises UndeliveredError and FormatError; then the checkpoint stays where it was.
        """
        held = self._held.setdefault(portion.log, [])
        held.append(_Held(portion, self._tallied(portion)))
        counts = LineCounts()
        for each in held:
            counts.add(each.batch.counts)
        if not self._limit.is_above(counts):
            self._send(portion.log)
        else:
            self._limit.check(counts, portion.log)

    def send_self_metrics(self, pulse: Pulse) -> None:
        """Send metrics about the run, where there is a server to send them to."""
        if self._sender:
            self._sender.send_self_metrics(pulse)

    def _tallied(self, portion: Portion) -> Batch:
        chunk = portion.chunk
        if not chunk.data:
            return Batch()
        sender = self._sender or self._account.open()
        data = self._store.checkpoint.logs[portion.log].format
        known = _format_kept(data, self._store.path) if data else None
        return sender.scan(portion.log, chunk.data, chunk.offset, known)

    def _send(self, log: str) -> None:
        """Send what is held of a log, flush, and move its checkpoint."""
        held = self._held.pop(log, [])
        if not held:
            return
        state = held[-1].portion.state._replace(format=self._store.checkpoint.logs[log].format)
        if self._sender and any(each.portion.chunk.data for each in held):
            for each in held:
                self._sender.send(each.batch)
            if log_format := self._sender.format_of(log):
                state = state._replace(format=asdict(log_format))
            self._sender.flush()
        self._store.save(self._store.checkpoint.with_log(log, state))
        self._remembered = self.pulse.totals.due

    def conclude(self, failure: LogstatsdError | None) -> None:
        """Say what was done. Raises the failure, or UndeliveredError where it was not all delivered."""
        try:
            for log in [*self._held] if failure is None else []:
                self._send(log)
        except LogstatsdError as error:
            failure = error
        for held in self._held.values():
            for each in held:
                self._account.counted.lines.add(each.batch.counts)
        if self._sender:
            failure = failure or self._sender.finish()
            say_rejected(self._account.counted.lines)
            if not self._asked.telling.quiet:
                say_unproven(self._sender.settler)
                self._sender.outcomes.tell(self._sender.router, self._asked.app)
        if failure:
            raise failure
        if self._sender:
            self._sender.refuse_untimed()
        self._account.tell()
