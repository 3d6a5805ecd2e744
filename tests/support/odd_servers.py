"""Apps of `odd_app` behind real servers: what was asked, what Flask matched, what logstatsd says of it.

Each line of a log ends with its request's id, by which it is held against the referee's note.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from command import MODULE, run
from odd_app import DATABASE, GATE
from places import SAMPLE_LOGS, SUPPORT
from referee import Note, read_notes
from servers import GUNICORN_DEFAULT, Address, exchange, gunicorn

from logstatsd.model.route import NOT_THE_APP, Route

if TYPE_CHECKING:
    import subprocess
    from contextlib import AbstractContextManager
    from pathlib import Path

    from traffic import Request

GUNICORN_FORMAT = GUNICORN_DEFAULT + ' %(D)s "%({host}i)s" "%({x-request-id}i)s"'


class Recording(NamedTuple):
    """A server's log, its format, and what the referee noted: by id, and of requests without one."""

    log: Path
    log_format: str
    notes: dict[str, Note]
    nameless: list[Note]


def recorded(log: Path, log_format: str, notes: Path) -> Recording:
    read = read_notes(notes)
    by_id = {note.id: note for note in read if note.id is not None}
    return Recording(log, log_format, by_id, [note for note in read if note.id is None])


def serve(name: str, directory: Path) -> AbstractContextManager[Address]:
    """gunicorn with one of the apps; its log and the referee's notes get the app's name."""
    return gunicorn(
        f"odd_app:served({name!r}, {str(directory / name)!r})",
        directory=SUPPORT,
        log=directory / f"{name}.log",
        log_format=GUNICORN_FORMAT,
        worker_class="gthread",
        threads=2,
        env={"PYTHONPATH": str(SAMPLE_LOGS), DATABASE: "there", GATE: str(directory / "gate")},
        options=("--limit-request-line", "8190", "--forwarder-headers", "SCRIPT_NAME", "--keep-alive", "0"),
    )


def drive(address: Address, requests: list[Request]) -> None:
    """Send requests, each with an id, two at once."""
    wires = [request.wire(x_request_id=f"g{number}") for number, request in enumerate(requests)]
    with ThreadPoolExecutor(2) as clients:
        list(clients.map(lambda wire: exchange(address, wire), wires))


def logstatsd(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as its users do, where the apps are, and without the database."""
    return run(*arguments, command=MODULE, cwd=SUPPORT, env={"PYTHONPATH": str(SAMPLE_LOGS)})


def expected(recording: Recording, line: str) -> Route:
    """Look up what the referee says about a line; what it has not seen never came to the app."""
    note = recording.notes.get(line.rpartition(" ")[2].strip('"'))
    if note is None and recording.nameless:
        asked = re.search(r'"([A-Z]+) (\S+)" ', line)  # HTTP/0.9: neither headers nor a version
        note = next((each for each in recording.nameless if asked and each[1:3] == asked.groups()), None)
    if note is None:
        if re.search('"(GET|HEAD) /down/x ', line):  # nginx found nobody there
            return Route("/down/<name>", "/down/<name>", "matched")
        return NOT_THE_APP
    return note.route


def text_lines(log: Path) -> list[str]:
    """The lines of a log, whatever bytes they hold."""
    return [line.decode("utf-8", "surrogateescape") for line in log.read_bytes().split(b"\n")[:-1]]


def wrong(recording: Recording, found: list[tuple[str, Any]], mode: str) -> list[tuple[str, Route, Route]]:
    """The lines that are not labelled with what Flask matched, and both labels."""
    different = []
    for line, row in found:
        asked, got = expected(recording, line), Route(row["rule"], row["endpoint"], row["outcome"])
        # Without the app, what its own converters refuse keeps the rule.
        refused = mode == "snapshot" and got.rule.startswith("/custom/") and asked.outcome != "matched"
        if asked != got and not refused:
            different.append((line, asked, got))
    return different
