"""FORMATS: the log formats known by name, each with a sample line and what is read from it."""

from __future__ import annotations

from typing import NamedTuple

from logstatsd.formats.logformat import LogFormat

NGINX_COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent"'
)
GUNICORN_DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
_HEAD = '192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /orders/7?page=2 HTTP/1.1" 200 512 "-" "curl/8.5"'


class Expected(NamedTuple):
    """The request that a sample line tells of."""

    method: str = "GET"
    target: str = "/orders/7?page=2"
    status: int = 200
    time: str | None = "2026-11-22T13:25:15+00:00"
    duration_us: int | None = None


class Preset(NamedTuple):
    """A format, a line of it, and what the line tells.

    `detected` is off for formats that no line can be told by: they must be named. `note` is said where the
    format was found by detection. A format that nearly any line fits is only taken where the others fit less
    than that `share` of the lines that it fits.
    """

    log_format: LogFormat
    sample: str
    expected: Expected
    detected: bool = True
    note: str = ""
    share: float = 1.0


def _nginx(name: str, after: str, tail: str, duration_us: int | None, note: str = "") -> Preset:
    log_format = LogFormat(name, NGINX_COMBINED + after, "nginx")
    return Preset(log_format, _HEAD + tail, Expected(duration_us=duration_us), note=note)


def _gunicorn(
    name: str, after: str, tail: str, duration_us: int | None, *, detected: bool = True, note: str = ""
) -> Preset:
    log_format = LogFormat(name, GUNICORN_DEFAULT + after, "gunicorn")
    return Preset(log_format, _HEAD + tail, Expected(duration_us=duration_us), detected, note)


UWSGI_DEFAULT = (
    "[pid: %(pid)|app: %(app)|req: %(req)/%(reqs)] %(addr) (%(user)) {%(vars) vars in %(pktsize) bytes} "
    "[%(ctime)] %(method) %(uri) => generated %(rsize) bytes in %(took)%(via) (%(proto) %(status)) "
    "%(headers) headers in %(hsize) bytes (%(switches) switches on core %(core))"
)
_UWSGI_LINE = (
    "[pid: 4242|app: 0|req: 3/7] 192.0.2.7 () {34 vars in 402 bytes} [Sun Nov 22 13:25:15 2026] "
    "GET /orders/7?page=2 => generated 512 bytes in 42 msecs (HTTP/1.1 200) 3 headers in 80 bytes "
    "(1 switches on core 0)"
)
_AND_MORE = NGINX_COMBINED.replace("$remote_addr", "$logstatsd_start") + "$logstatsd_rest"
_COMMON = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent'
_COMMON_LINE = '192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /orders/7?page=2 HTTP/1.1" 200 512'
_APACHE_COMBINED = '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"'
_INTEGER_NOTE = (
    "the number at the end of each line is taken as {}, microseconds; "
    "if it is %(M)s or %(T)s, say --log-format gunicorn-ms or gunicorn-whole-seconds"
)
_TIMED = Expected(duration_us=42_000)
_MICROS = Expected(duration_us=42_137)

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
    _nginx(
        "ingress-nginx",
        " $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name]"
        " $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id",
        " 419 0.042 [shop-web-80] [] 10.2.0.7:8000 512 0.040 200 8f5c1e8f6bd04dd8ba1b1c2bcd7aa111",
        42_000,
    ),
    Preset(LogFormat("nginx-common", f"{_COMMON} $request_time", "nginx"), f"{_COMMON_LINE} 0.042", _TIMED),
    _gunicorn("gunicorn-seconds", " %(L)s", " 0.042137", 42_137),
    _gunicorn("gunicorn", " %(D)s", " 42137", 42_137, note=_INTEGER_NOTE.format("%(D)s")),
    _gunicorn(
        "gunicorn-forwarded-seconds",
        ' "%({x-forwarded-for}i)s" %(L)s',
        ' "198.51.100.9" 0.042137',
        42_137,
    ),
    _gunicorn(
        "gunicorn-forwarded",
        ' "%({x-forwarded-for}i)s" %(D)s',
        ' "198.51.100.9" 42137',
        42_137,
        note=_INTEGER_NOTE.format("%(D)s"),
    ),
    _gunicorn("gunicorn-ms", " %(M)s", " 42", 42_000, detected=False),
    _gunicorn("gunicorn-whole-seconds", " %(T)s", " 3", 3_000_000, detected=False),
    Preset(
        LogFormat("apache-vhost", f"%v:%p {_APACHE_COMBINED} %D", "apache"),
        f"shop.example:443 {_HEAD} 42137",
        _MICROS,
    ),
    Preset(
        LogFormat("apache", f"{_APACHE_COMBINED} %D", "apache"),
        f"{_HEAD} 42137",
        _MICROS,
        note=_INTEGER_NOTE.format("%D"),
    ),
    Preset(LogFormat("uwsgi", UWSGI_DEFAULT, "uwsgi"), _UWSGI_LINE, _TIMED),
    Preset(
        LogFormat(
            "ltsv",
            "time:$time\thost:$host\treq:$req\tstatus:$status\tsize:$size\treferer:$referer\tua:$ua\t"
            "reqtime:$reqtime",
            "ltsv",
        ),
        "time:22/Nov/2026:13:25:15 +0000\thost:192.0.2.7\treq:GET /orders/7?page=2 HTTP/1.1\tstatus:200\t"
        "size:512\treferer:-\tua:curl/8.5\treqtime:0.042",
        _TIMED,
    ),
    _nginx("combined", "", "", None),
    _gunicorn("gunicorn-default", "", "", None),
    Preset(
        LogFormat("apache-vhost-combined", f"%v:%p {_APACHE_COMBINED}", "apache"),
        f"shop.example:443 {_HEAD}",
        Expected(),
    ),
    Preset(LogFormat("apache-combined", _APACHE_COMBINED, "apache"), _HEAD, Expected()),
    _nginx("nginx-main", ' "$http_x_forwarded_for"', ' "198.51.100.9"', None),
    Preset(LogFormat("common", _COMMON, "nginx"), _COMMON_LINE, Expected()),
    Preset(
        LogFormat("apache-common", '%h %l %u %t "%r" %>s %b', "apache"),
        _COMMON_LINE.replace(" - - ", " ident frank "),
        Expected(),
    ),
    Preset(
        LogFormat(
            "werkzeug",
            '$remote_addr - - [$time] "$request" $status $size',
            "werkzeug",
            envelopes=("terminal",),  # only what did not go well is coloured
        ),
        '192.0.2.7 - - [22/Nov/2026 13:25:15] "GET /orders/7?page=2 HTTP/1.1" 200 -',
        Expected(),
        note="Werkzeug's development server logs no durations",
    ),
    Preset(
        LogFormat("combined-and-more", _AND_MORE, "nginx"),
        f'{_HEAD} tls=1.3 "x"',
        Expected(),
        note="columns before the user or after its agent are not understood; "
        "give the server's own format string by --log-format",
        share=0.1,
    ),
)

FORMATS: dict[str, Preset] = {preset.log_format.name: preset for preset in _PRESETS}
