"""Advise what to add to a server's configuration so that its log has durations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from logstatsd.formats.logformat import LogFormat


class Advice(NamedTuple):
    """The advice for one server: in short, and where its configuration allows it as a line to copy.

    In `line`, `{}` stands for the format as it is now; `member` does the same within JSON.
    """

    short: str
    where: str = ""
    line: str = ""
    member: str = ""


DURATION_ADVICE = {
    "nginx": Advice(
        "add $request_time to nginx's log_format, or %(D)s to gunicorn's access_log_format",
        "nginx.conf",
        "log_format timed '{} $request_time'; access_log /var/log/nginx/access.log timed;",
        '"request_time":"$request_time"',
    ),
    "gunicorn": Advice(
        "add %(D)s (microseconds) to gunicorn's access_log_format",
        "gunicorn.conf.py",
        "access_log_format = '{} %(D)s'",
        '"duration_us": %(D)s',
    ),
    "apache": Advice(
        "add %D (microseconds) to Apache's LogFormat",
        "Apache's configuration",
        'LogFormat "{} %D" timed',
        '"duration_us": %D',
    ),
    "uwsgi": Advice(
        "add %(micros) (microseconds) to uWSGI's log-format",
        "uWSGI's configuration",
        "log-format = {} %(micros)",
        '"duration_us": %(micros)',
    ),
    "ltsv": Advice("add reqtime:$request_time to nginx's log_format, or reqtime_microsec:%D to Apache's"),
    "json": Advice(
        'add to the JSON, for nginx or gunicorn: "request_time":"$request_time" or "duration_us": %(D)s'
    ),
    "werkzeug": Advice("serve the app with gunicorn, and add %(D)s to its access_log_format"),
}
"""What to add, by server (a key of SERVERS)."""


def duration_advice(log_format: LogFormat) -> str:
    """Say in one clause what to add to the server's configuration."""
    return DURATION_ADVICE[log_format.server].short


def duration_line(log_format: LogFormat) -> tuple[str, str]:
    """Give the place in the configuration and the line to put there; empty where there is none to copy."""
    advice = DURATION_ADVICE[log_format.server]
    if log_format.is_json:
        return advice.where, advice.member
    layout = log_format.layout.replace("$logstatsd_rest", "").replace("$logstatsd_start", "$remote_addr")
    layout = layout.replace('"', '\\"') if log_format.server == "apache" else layout
    return advice.where, advice.line.format(layout)
