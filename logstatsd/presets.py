"""FORMATS: the log formats known by name, each with a sample line and what is read from it."""

from __future__ import annotations

from typing import NamedTuple

from logstatsd.formats import LogFormat

NGINX_COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent"'
)
GUNICORN_DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
_HEAD = '192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /orders/7?page=2 HTTP/1.1" 200 512 "-" "curl/8.5"'


class Expected(NamedTuple):
    """What a sample line tells of its request."""

    method: str = "GET"
    target: str = "/orders/7?page=2"
    status: int = 200
    time: str | None = "2026-11-22T13:25:15+00:00"
    duration_us: int | None = None


class Preset(NamedTuple):
    """A format, a line of it, and what the line tells.

    `detected` is off for formats that no line can be told by: they must be named. `note` is said where the
    format was found by detection.
    """

    log_format: LogFormat
    sample: str
    expected: Expected
    detected: bool = True
    note: str = ""


def _nginx(name: str, after: str, tail: str, duration_us: int | None, note: str = "") -> Preset:
    log_format = LogFormat(name, NGINX_COMBINED + after, "nginx")
    return Preset(log_format, _HEAD + tail, Expected(duration_us=duration_us), note=note)


def _gunicorn(
    name: str, after: str, tail: str, duration_us: int | None, *, detected: bool = True, note: str = ""
) -> Preset:
    log_format = LogFormat(name, GUNICORN_DEFAULT + after, "gunicorn")
    return Preset(log_format, _HEAD + tail, Expected(duration_us=duration_us), detected, note)


_PRESETS = (
    _nginx("nginx", " $request_time", " 0.042", 42_000),
    _nginx("nginx-upstream", " $request_time $upstream_response_time", " 0.042 0.040", 42_000),
    _nginx(
        "nginx-upstream-addr",
        " $request_time $upstream_response_time $upstream_addr",
        " 0.042 0.040 127.0.0.1:8000",
        42_000,
    ),
    _nginx("nginx-main-timed", ' "$http_x_forwarded_for" $request_time', ' "198.51.100.9" 0.042', 42_000),
    _nginx(
        "nginx-main-upstream",
        ' "$http_x_forwarded_for" $request_time $upstream_response_time',
        ' "198.51.100.9" 0.042 0.040',
        42_000,
    ),
    _gunicorn("gunicorn-seconds", " %(L)s", " 0.042137", 42_137),
    _gunicorn(
        "gunicorn",
        " %(D)s",
        " 42137",
        42_137,
        note="the number at the end of each line is taken as %(D)s, microseconds; "
        "if it is %(M)s or %(T)s, say --log-format gunicorn-ms or gunicorn-whole-seconds",
    ),
    _gunicorn("gunicorn-ms", " %(M)s", " 42", 42_000, detected=False),
    _gunicorn("gunicorn-whole-seconds", " %(T)s", " 3", 3_000_000, detected=False),
    _nginx("combined", "", "", None),
    _gunicorn("gunicorn-default", "", "", None),
    _nginx("nginx-main", ' "$http_x_forwarded_for"', ' "198.51.100.9"', None),
    Preset(
        LogFormat(
            "common", '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent', "nginx"
        ),
        '192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /orders/7?page=2 HTTP/1.1" 200 512',
        Expected(),
    ),
    _nginx(
        "combined-and-more",
        "$logstatsd_rest",
        ' tls=1.3 "x"',
        None,
        note="columns after the user agent are not understood; "
        "give the server's own format string by --log-format",
    ),
)

FORMATS: dict[str, Preset] = {preset.log_format.name: preset for preset in _PRESETS}
