"""Advice on what to add to a server's configuration: the same in every command, and it works."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from places import SHOP

from logstatsd.cli import cli
from logstatsd.formats.duration_advice import DURATION_ADVICE, duration_advice, duration_line
from logstatsd.formats.logformat import parse_layout
from logstatsd.formats.presets import FORMATS
from logstatsd.formats.servers import SERVERS

if TYPE_CHECKING:
    from pathlib import Path

UWSGI = '%(addr) - [%(ltime)] "%(method) %(uri) %(proto)" %(status) %(size)'
UNTIMED = {
    "nginx": FORMATS["combined"].log_format,
    "gunicorn": FORMATS["gunicorn-default"].log_format,
    "apache": FORMATS["apache-common"].log_format,
    "uwsgi": parse_layout(UWSGI),
    "werkzeug": FORMATS["werkzeug"].log_format,
}
LINES = {
    **{
        server: FORMATS[log_format.name].sample for server, log_format in UNTIMED.items() if server != "uwsgi"
    },
    "uwsgi": '192.0.2.7 - [22/Nov/2026:13:25:15 +0000] "GET /orders/7?page=2 HTTP/1.1" 200 512',
    "ltsv": "time:[22/Nov/2026:13:25:15 +0000]\thost:192.0.2.7\treq:GET /orders/7 HTTP/1.1\tstatus:200",
    "json": '{"method": "GET", "path": "/orders/7", "status": 200}',
}
ARGS = {"uwsgi": ["--log-format", UWSGI], "gunicorn": ["--log-format", "gunicorn-default"]}
VARIABLES = {
    "nginx": "$request_time",
    "gunicorn": "%(D)s",
    "apache": "%D",
    "uwsgi": "%(micros)",
    "json": '"request_time":"$request_time"',
    "werkzeug": "gunicorn",
    "ltsv": "reqtime:$request_time",
}


def test_there_is_advice_for_every_server() -> None:
    assert set(DURATION_ADVICE) == {name.partition(" ")[0] for name in SERVERS} == set(VARIABLES)


@pytest.mark.parametrize("server", VARIABLES)
@pytest.mark.parametrize("command", ["report", "replay", "check"])
def test_every_command_advises_what_the_log_s_own_server_needs(
    command: str, server: str, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    log.write_text(LINES[server] + "\n")
    args = [command, str(log), "--app", SHOP, *ARGS.get(server, ())]
    done = CliRunner().invoke(cli, [*args, *(["--dry-run"] if command == "replay" else [])])
    assert VARIABLES[server] in done.output
    assert ("nginx" in done.output) is (server in ("nginx", "json", "ltsv"))


@pytest.mark.parametrize("server", ["nginx", "gunicorn", "apache", "uwsgi"])
def test_the_line_to_copy_makes_a_format_with_durations(server: str) -> None:
    assert not UNTIMED[server].duration_source
    assert VARIABLES[server] in duration_advice(UNTIMED[server])
    _, line = duration_line(UNTIMED[server])
    layout = re.sub(r"^.*?(?:timed '|= '?|LogFormat \")|(?:'; access_log .*|'|\" timed)$", "", line)
    assert parse_layout(layout.replace('\\"', '"')).duration_source
