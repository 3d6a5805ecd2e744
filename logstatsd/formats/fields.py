"""Tables of the variables of nginx, gunicorn, Apache, uWSGI, Werkzeug and LTSV, and what they stand for."""

from __future__ import annotations

from typing import NamedTuple


class Field(NamedTuple):
    """One variable of a log format.

    `kind` names the shape of its values (see `patterns`), `role` what logstatsd reads it for ("" is skipped
    over), `unit` an entry of `times.UNITS` where it is a duration.
    """

    kind: str
    role: str = ""
    unit: str = ""


TEXT = Field("text")
_WORD = Field("word")
_NUMBER = Field("number")
_LIST = Field("list")


def _each(field: Field, names: str) -> dict[str, Field]:
    return dict.fromkeys(names.split(), field)


NGINX: dict[str, Field] = {
    # https://nginx.org/en/docs/varindex.html; what is not here is free text
    "request": Field("request", "request"),
    "request_method": Field("word", "method"),
    "request_uri": Field("text", "target"),
    "uri": Field("text", "path"),
    "document_uri": Field("text", "path"),
    "status": Field("status", "status"),
    "time_local": Field("clf", "time"),
    "time_iso8601": Field("iso", "time"),
    "msec": Field("number", "time"),
    "host": Field("word", "host"),
    "http_host": Field("text", "host"),
    "upstream_addr": Field("list", "upstream"),
    "request_time": Field("decimal", "duration", "seconds, to the millisecond"),
    **_each(
        Field("list", "duration", "seconds of each upstream, added"),
        "upstream_response_time upstream_header_time upstream_connect_time upstream_queue_time",
    ),
    "upstream_http_x_logstatsd_cpu_us": Field("word", "cpu", "microseconds"),
    "sent_http_x_logstatsd_cpu_us": Field("word", "cpu", "microseconds"),
    **_each(_LIST, "upstream_status upstream_response_length upstream_bytes_received upstream_bytes_sent"),
    **_each(
        _NUMBER,
        "body_bytes_sent bytes_sent bytes_received request_length content_length connection"
        " connection_requests connection_time pid server_port remote_port proxy_port proxy_protocol_port"
        " proxy_protocol_server_port limit_rate gzip_ratio tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd"
        " tcpinfo_rcv_space",
    ),
    **_each(
        _WORD,
        "remote_addr realip_remote_addr realip_remote_port server_addr server_name hostname scheme"
        " server_protocol request_id request_completion pipe https nginx_version proxy_host"
        " proxy_protocol_addr proxy_protocol_server_addr is_args ssl_protocol ssl_cipher"
        " ssl_session_id ssl_session_reused ssl_server_name ssl_early_data upstream_cache_status http2 http3",
    ),
}

GUNICORN: dict[str, Field] = {
    # https://docs.gunicorn.org/en/stable/settings.html#access-log-format; %({…}i)s and its like are free text
    "h": _WORD,
    "l": Field("dash"),
    "u": TEXT,
    "t": Field("clf_bracketed", "time"),
    "r": Field("request", "request"),
    "m": Field("word", "method"),
    "U": Field("text", "path"),
    "q": TEXT,
    "H": _WORD,
    "s": Field("status", "status"),
    "B": _NUMBER,
    "b": _NUMBER,
    "f": TEXT,
    "a": TEXT,
    "D": Field("integer", "duration", "microseconds"),
    "L": Field("decimal", "duration", "seconds, to the microsecond"),
    "M": Field("integer", "duration", "milliseconds"),
    "T": Field("integer", "duration", "whole seconds"),
    "p": _WORD,
    "{logstatsd.cpu_us}e": Field("word", "cpu", "microseconds"),
    "{host}i": Field("text", "host"),
    "{raw_uri}e": Field("text", "target"),
}

APACHE: dict[str, Field] = {
    # https://httpd.apache.org/docs/current/mod/mod_log_config.html#formats
    "h": _WORD,
    "a": _WORD,
    "A": _WORD,
    "l": _WORD,
    "u": TEXT,
    "t": Field("clf_bracketed", "time"),
    "r": Field("request", "request"),
    "m": Field("word", "method"),
    "U": Field("text", "path"),
    "q": TEXT,
    "H": _WORD,
    "s": Field("status", "status"),
    "D": Field("integer", "duration", "microseconds"),
    "T": Field("integer", "duration", "whole seconds"),
    "{us}T": Field("integer", "duration", "microseconds"),
    "{ms}T": Field("integer", "duration", "milliseconds"),
    "{s}T": Field("integer", "duration", "whole seconds"),
    "{Host}i": Field("text", "host"),
    **_each(_NUMBER, "B b O I S p P k"),
    **_each(_WORD, "v V X L R"),
}

UWSGI: dict[str, Field] = {
    # https://uwsgi-docs.readthedocs.io/en/latest/LogFormat.html
    "method": Field("word", "method"),
    "uri": Field("text", "target"),
    "status": Field("status", "status"),
    "host": Field("text", "host"),
    "ltime": Field("clf", "time"),
    "ctime": Field("ctime", "time"),
    "epoch": Field("number", "time"),
    "micros": Field("integer", "duration", "microseconds"),
    "msecs": Field("integer", "duration", "milliseconds"),
    "secs": Field("integer", "duration", "whole seconds"),
    "took": Field("took", "duration", "as written"),  # ours, for what uWSGI writes with its unit
    **_each(
        _NUMBER,
        "time size hsize rsize cl pid wid switches vars headers core pktsize modifier1 modifier2 vsz rss vszM"
        " rssM rerr werr ioerr tmsecs tmicros app req reqs",
    ),
    **_each(_WORD, "addr proto"),
}

WERKZEUG: dict[str, Field] = {
    # werkzeug.serving.WSGIRequestHandler.log_request, and the BaseHTTPRequestHandler it is built on
    "remote_addr": _WORD,
    "time": Field("http_server", "time"),
    "request": Field("request", "request"),
    "status": Field("status", "status"),
    "size": _WORD,
}

LTSV: dict[str, Field] = {
    # http://ltsv.org, and what alp expects; there, `host` is the client's
    **_each(Field("request", "request"), "req request"),
    **_each(Field("word", "method"), "method request_method"),
    **_each(TEXT._replace(role="target"), "uri request_uri"),
    "path": Field("text", "path"),
    "status": Field("status", "status"),
    **_each(TEXT._replace(role="time"), "time time_local time_iso8601 timestamp msec"),
    **_each(TEXT._replace(role="host"), "vhost http_host"),
    "upstream_addr": Field("list", "upstream"),
    **_each(Field("word", "duration", "seconds"), "reqtime request_time apptime response_time runtime"),
    "reqtime_microsec": Field("word", "duration", "microseconds, maybe with decimals"),
    "reqtime_msec": Field("word", "duration", "milliseconds, maybe with decimals"),
    "cpu_us": Field("word", "cpu", "microseconds, maybe with decimals"),
}

_BETTER_FIRST = (
    *("http_host", "host"),
    *("request_time", "upstream_response_time", "upstream_header_time", "upstream_connect_time"),
    *("vhost", "reqtime_microsec", "reqtime_msec", "reqtime", "response_time", "apptime", "runtime"),
    *("D", "L", "{us}T", "M", "{ms}T", "T", "{s}T", "micros", "msecs", "secs", "took"),
)
"""Of several variables that could serve a role, the first of these does, unless the user names another."""


def rank(name: str) -> int:
    """Rank a variable among those of its role; the lowest is best, the rest go by their order."""
    return _BETTER_FIRST.index(name) if name in _BETTER_FIRST else len(_BETTER_FIRST)


JSON: dict[str, Field] = {
    # the variables in which layouts are written for JSON logs with keys of any origin: nginx's, and these
    **NGINX,
    "request_time": Field("word", "duration", "seconds"),
    "duration_s": Field("word", "duration", "seconds"),
    "duration_ms": Field("word", "duration", "milliseconds, maybe with decimals"),
    "duration_us": Field("word", "duration", "microseconds, maybe with decimals"),
    "duration_ns": Field("word", "duration", "nanoseconds"),
    "cpu_us": Field("word", "cpu", "microseconds, maybe with decimals"),
    "time": Field("text", "time"),
}
