"""What `replay --resume` and `--follow` do: send what was added to the logs, and remember how far."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from logstatsd.cli.console import say, say_rejected, say_unproven
from logstatsd.cli.inputs import followed, format_of
from logstatsd.cli.outcome import NOTHING, ReplayCounts, conclude
from logstatsd.cli.replay import BATCH_LINES, Sender
from logstatsd.errors import LogstatsdError, OptionError
from logstatsd.tail.checkpoint import LogState, Store, default_path
from logstatsd.tail.follow import Control, follow
from logstatsd.tail.resume import resume, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logstatsd.formats.logformat import LogFormat
    from logstatsd.tail.plan import Portion

MANY_LINES = 100
"""So many new lines of which none fits are no scanner's garbage: that is said even where quiet is wanted."""


def replay_on(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    """Send what the logs hold beyond the checkpoint. Raises what reading, sending and the checkpoint may."""
    if given["since"] or given["until"] or given["speed"]:
        raise OptionError(
            "--resume and --follow take all that is new; leave out --since, --until and --speed"
        )
    if given["backfill"]:
        raise OptionError(
            "--backfill takes whole logs: where a run stops within ten seconds, the next would replace their "
            "points; leave out --resume and --follow"
        )
    logs, destination = followed(paths), destination_name(given)
    path = given["checkpoint"] or default_path(given["state_dir"], paths, destination)
    with Store(path, destination, wait=given["wait"]) as store, Control() as control:
        states = {log: _known(log, store, given) for log in logs}
        delivery, failure = _Delivery(store, given), None
        try:
            try:
                for portion in _unread(states, control, given):
                    if portion is not None:
                        delivery.take(portion)
                    if control.stopped():
                        break
            except LogstatsdError as error:
                failure = error
            delivery.conclude(failure)
        finally:
            delivery.close()
    if control.signal:
        click.get_current_context().exit(128 + control.signal)


def destination_name(given: dict[str, Any]) -> str:
    """What a checkpoint knows the server by; found without the datadog client, whose rules these are."""
    if given["dry_run"]:
        raise OptionError("--dry-run sends nothing, so there is nothing to resume; leave one of them out")
    if given["socket"]:
        return f"unix:{given['socket']}"
    url = os.environ.get("DD_DOGSTATSD_URL")
    if url and not given["host"] and not given["port"]:
        return url
    host = given["host"] or os.environ.get("DD_AGENT_HOST") or "localhost"
    port = given["port"] or os.environ.get("DD_DOGSTATSD_PORT") or 8125
    return f"{'tcp' if given['tcp'] else 'udp'}:{host}:{port}"


def _known(log: str, store: Store, given: dict[str, Any]) -> LogState:
    """Where the last run stopped; for a log that is new, where the first one begins."""
    state = store.checkpoint.logs.get(log)
    if state is None:
        awaited = given["follow"] and not os.path.exists(log)  # noqa: PTH110
        state = LogState() if awaited else start(log, given["from_"])
        store.save(store.checkpoint.with_log(log, state))
        how = "not there yet, waiting for it" if awaited else f"first run, from its {given['from_']}"
        say(f"{log}: {how}", quiet=given["quiet"])
    return state


def _unread(
    states: Mapping[str, LogState], control: Control, given: dict[str, Any]
) -> Iterator[Portion | None]:
    """The lines that were not sent yet, in portions; None where there are none for now."""
    until_eof = given["until_eof"]
    if given["follow"]:
        yield from follow(states, control, say, max_lines=BATCH_LINES, until_eof=until_eof)
        return
    for log, state in states.items():
        with resume(log, state) as plan:
            yield from plan.portions(max_lines=BATCH_LINES, until_eof=until_eof)
        for note in plan.notes:
            say(note)


class _Delivery:
    """Sends portions, and moves the checkpoint once what it covers was flushed.

    Neither the app nor the server is looked for before there is a line to send.
    """

    def __init__(self, store: Store, given: dict[str, Any]) -> None:
        self._store, self._given = store, given
        self._sender: Sender | None = None
        self._counted = ReplayCounts()
        self._formats: dict[str, LogFormat] = {}

    def take(self, portion: Portion) -> None:
        """Send a portion, and move the checkpoint past it: a run that is killed repeats one, at most.

        Raises UndeliveredError; then the checkpoint stays where it was.
        """
        state = portion.state._replace(format=self._store.checkpoint.logs[portion.log].format)
        if portion.chunk.data:
            log_format = self._format(portion.log, portion.chunk.data)
            state = state._replace(format=asdict(log_format))
            self._sender = self._sender or Sender(self._given, self._counted)
            self._sender.scan(portion.log, log_format, portion.chunk.data)
            self._sender.flush()
        self._store.save(self._store.checkpoint.with_log(portion.log, state))

    def _format(self, log: str, lines: bytes) -> LogFormat:
        """The log's format: as given, as the checkpoint knows it, or as the lines show."""
        if log not in self._formats:
            from logstatsd.formats.logformat import LogFormat  # noqa: PLC0415

            data = self._store.checkpoint.logs[log].format
            known = LogFormat.from_data(data) if data else None
            self._formats[log] = format_of(log, lines, self._given, known)
        return self._formats[log]

    def conclude(self, failure: LogstatsdError | None) -> None:
        """Say what was done. Raises the failure, or UndeliveredError where it was not all delivered."""
        counted, sender = self._counted, self._sender
        if sender is None:
            if failure:
                raise failure
            conclude(counted, NOTHING, "", self._given)
            return
        failure = failure or sender.finish()
        nothing_fits = counted.lines and not counted.parsed and not counted.outside
        if not self._given["quiet"]:
            say_rejected(counted.rejected, counted.samples, counted.lines)
            say_unproven(sender.settler)
        if nothing_fits and (counted.lines >= MANY_LINES or not self._given["quiet"]):
            say(
                f"none of the {counted.lines:,} new lines fits the format that the log had: if that has "
                "changed, give the new one by --log-format once"
            )
        sender.conclude()
        if failure:
            raise failure

    def close(self) -> None:
        """Let go of the server."""
        if self._sender:
            self._sender.close()
