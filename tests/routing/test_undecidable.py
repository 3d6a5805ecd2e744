"""Lines that a log cannot decide: what Flask made of them, and the label that docs/labels.md says.

Should one of them come to be decided, its case fails here, and leaves the table there.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from odd_requests import AGENT, UPGRADE, request
from odd_servers import GUNICORN_FORMAT, logstatsd, serve
from places import ROOT
from referee import read_notes
from servers import COMBINED, exchange, nginx
from traffic import Request

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

NEVER_CAME = "(not the app)"

LOCATIONS = """
    location / {{ proxy_set_header Host $http_host; proxy_pass http://app; }}
    location /static/ {{ root {directory}; }}
"""


class Case(NamedTuple):
    """A request, the rule or outcome that Flask found, the label that its line gets; `why` heads its row."""

    why: str
    request: Request
    flask: str
    label: str


def two_hosts(target: str) -> Request:
    return Request(raw=f"GET {target} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".encode())


BY_GUNICORN = [
    Case(
        "An upgrade to a websocket where there is none",
        request("/leaf?0", **UPGRADE),
        "(unmatched)",
        "/leaf",
    ),
    Case(
        "A websocket that the view refuses",
        request("/socket/x?1", **UPGRADE),
        "/socket/<name>",
        "(unmatched)",
    ),
    Case(
        "An empty 400 of the app, to a client without user agent and referer",
        Request(b"/aborted/400?2", b"HEAD"),
        "/aborted/<int:code>",
        NEVER_CAME,
    ),
    Case("`TRUSTED_HOSTS`", request("/leaf?3", Host="other.example"), "(unmatched)", "/leaf"),
    Case("A middleware that changes the path", request("/rewritten/x?4"), "/branch/<name>", "(unmatched)"),
    Case("A converter that cannot be asked", request("/stock/sold?5"), "(unmatched)", "/stock/<sold:item>"),
    Case(
        "An upgrade to a websocket where there is none, at a path that other rules take by other methods",
        request("/read?6", **UPGRADE),
        "(method not allowed)",
        "/read",
    ),
]
BY_NGINX = [
    Case("nginx's own 400", two_hosts("/leaf?7"), NEVER_CAME, "/leaf"),
    Case(
        "Bytes that nginx passes on and gunicorn refuses",
        Request("/branch/é?8".encode(), headers=AGENT),
        NEVER_CAME,
        "/branch/<name>",
    ),
    Case(
        "What else nginx answers itself",
        request("/static/x.css?9"),
        NEVER_CAME,
        "/static/<path:filename>",
    ),
    Case(
        "A middleware that changes the method",
        request("/put?10", "POST", **{"X-HTTP-Method-Override": "PUT"}),
        "/put",
        "(method not allowed)",
    ),
]


def found_by_flask(notes: Path, number: str) -> str:
    """The rule or the outcome that the referee noted for the request that ends in `?number`."""
    for note in read_notes(notes):
        if note.target.endswith(f"?{number}"):
            return note.rule
    return NEVER_CAME


def labels(log: Path, log_format: str) -> dict[str, str]:
    """Label each request by `normalize`; the labels, by the number of their request."""
    done = logstatsd("normalize", str(log), "--app", "odd_app:rewriting", "--log-format", log_format)
    numbers = re.findall(r"\?(\d+) HTTP", log.read_text("utf-8"))
    return dict(zip(numbers, (json.loads(line)["rule"] for line in done.stdout.splitlines()), strict=True))


@pytest.mark.real_server("nginx")
def test_what_a_log_cannot_decide_is_labelled_as_documented(tmp_path: Path) -> None:
    logs, locations = {"combined.log": COMBINED}, LOCATIONS.format(directory=tmp_path)
    with (
        serve("rewriting", tmp_path) as app,
        nginx(app, directory=tmp_path, logs=logs, locations=locations) as front,
    ):
        for case in BY_GUNICORN:
            exchange(app, case.request.wire())
        for case in BY_NGINX:
            exchange(front, case.request.wire())

    cases = [*BY_GUNICORN, *BY_NGINX]
    notes = tmp_path / "rewriting"
    assert [found_by_flask(notes, str(number)) for number in range(len(cases))] == [c.flask for c in cases]
    found = labels(tmp_path / "rewriting.log", GUNICORN_FORMAT)
    found |= labels(tmp_path / "combined.log", COMBINED.strip("'"))
    assert [found[str(number)] for number in range(len(cases))] == [case.label for case in cases]


def test_each_of_them_has_its_row_in_the_manual() -> None:
    rows = (ROOT / "docs" / "labels.md").read_text("utf-8").splitlines()
    for case in [*BY_GUNICORN, *BY_NGINX]:
        row = next((row for row in rows if row.startswith(f"| {case.why}")), "")
        assert f"| `{case.label}` |" in row, case.why
