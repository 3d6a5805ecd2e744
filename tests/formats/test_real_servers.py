"""Real nginx and gunicorn, told to log in a dozen formats each, and asked for what nobody should ask for.

Requests go one after the other, so the n-th line of each log is the n-th request.
"""

# ruff: noqa: E501 - formats are as long as they are

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from places import SAMPLE_LOGS
from reading import choose, entries
from servers import COMBINED, COMBINED_TIMED, GUNICORN_DEFAULT, exchange, gunicorn, nginx

from logstatsd.formats.logformat import parse_layout
from logstatsd.formats.text_reader import parse_line

if TYPE_CHECKING:
    from pathlib import Path

    from logstatsd.formats.logformat import LogFormat

pytestmark = pytest.mark.slow


class Sent(NamedTuple):
    """A request: the words of its request line, and the headers that end up in logs."""

    target: bytes
    method: bytes = b"GET"
    agent: bytes = b"curl/8.5"
    referer: bytes = b"-"
    forwarded: bytes = b"192.0.2.7"

    def wire(self) -> bytes:
        head = [self.method + b" " + self.target + b" HTTP/1.1", b"Host: shop.example", b"Connection: close"]
        head += [b"User-Agent: " + self.agent, b"Referer: " + self.referer]
        head += [b"X-Forwarded-For: " + self.forwarded, b"Content-Length: 0"]
        return b"\r\n".join([*head, b"", b""])


NASTY = [
    Sent(b"/health"),
    Sent(b"/health?a=1&b=%20+x#frag"),
    Sent(b"/api/users/a'b;c,d|e", b"PUT"),
    Sent(b'/api/users/a"b\\c'),
    Sent("/api/users/jürgen".encode()),
    Sent(b"/api/users/j\xfcrgen\xff"),
    Sent(b"/api/users/%FFx%20y%2Fz%3Fa%23b"),
    Sent(b"/api/users/x]y[z{w}", b"DELETE"),
    Sent(b"//health//x"),
    Sent(b"/" + b"long/" * 300),
    Sent(b"/health", b"PATCH"),
    Sent(b"/health", agent=b"ends in a backslash\\", referer=b"\\"),
    Sent(b"/health", agent=b'" 200 0 "-" "-" 0.001', referer=b'","status":500,"x":"'),
    Sent(b"/health", agent=b"bytes \xff\xfe and \xc3\xbc\ttab", referer=b'say \\"hi\\" \\\\'),
    Sent(b"/health", agent=b"GET / HTTP/1.1 200 0.001", forwarded=b"198.51.100.9, 10.0.0.1, 2001:db8::7"),
    Sent(b"/health", forwarded=b"2001:db8::7", agent=b"\\x22 %(s)s $status \\u0022"),
]
RAW = [
    b"GET /%00%zz HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"\x16\x03\x01\x00\xca\x01\xff\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    b"GET /health\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
]

# --- nginx ----------------------------------------------------------------------------------------------

NGINX_LOGS = {
    "combined": COMBINED,
    "main": COMBINED[:-1] + """ "$http_x_forwarded_for"'""",
    "timed": COMBINED_TIMED,
    "upstream lists": COMBINED[:-1]
    + " $request_time $upstream_response_time $upstream_addr $upstream_status $upstream_connect_time'",
    "ingress": COMBINED[:-1]
    + " $request_length $request_time [$proxy_host] [] $upstream_addr $upstream_response_length"
    " $upstream_response_time $upstream_status $request_id'",
    "JSON": """escape=json '{"time":"$time_iso8601","m":"$request_method","u":"$request_uri","s":$status,'
        '"r":"$request","agent":"$http_user_agent","referer":"$http_referer","t":$request_time,'
        '"up":"$upstream_response_time"}'""",
    "JSON, escaped as text": """'{"m":"$request_method","u":"$request_uri","s":$status,"t":$request_time,'
        '"agent":"$http_user_agent","up":$upstream_response_time,"addr":"$upstream_addr"}'""",
    "JSON, nested": """escape=json '{"http":{"request":{"line":"$request"},"status":"$status"},'
        '"t":"$request_time","agent":"$http_user_agent"}'""",
    "forwarded first": """'$http_x_forwarded_for - $remote_user [$time_local] "$request" $status $request_time'""",
    "tabs": r"""'$msec\t$request_method\t$request_uri\t$status\t$http_user_agent\t${request_time}s'""",
    "no quotes": """'$remote_addr:$remote_port $request_method $request_uri $server_protocol $status $request_time'""",
    "words last": """'[$time_iso8601] $status $request_time $request UA=$http_user_agent'""",
    "words in the middle": """'$remote_addr $http_user_agent $request_time $status $request'""",
    "not escaped": """escape=none '$remote_addr [$time_local] "$request" $status "$http_x_forwarded_for" $request_time'""",
    "escaped as JSON": """escape=json '$remote_addr [$time_local] "$request" $status "$http_referer" '
        '"$http_user_agent" $request_time'""",
}  # fmt: skip

LOCATIONS = """
    location / {
        proxy_pass http://app;
        proxy_set_header Host $http_host;
    }
    location /docs/ { proxy_pass http://127.0.0.1:1; error_page 502 = @again; }
    location @again { proxy_pass http://app; }
    location /unix/ { proxy_pass http://unix:/nowhere/app.sock:/; }
    location /own/ { return 204; }
"""
BY_NGINX = [Sent(b"/docs/x"), Sent(b"/unix/x"), Sent(b"/own/x")]


@pytest.fixture(scope="module")
def by_nginx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("nginx")
    logs = {f"{number}.log": body for number, body in enumerate(NGINX_LOGS.values())}
    with (
        gunicorn("shop:app", directory=SAMPLE_LOGS, log=directory / "app.log") as app,
        nginx(app, directory=directory, logs=logs, locations=LOCATIONS) as front,
    ):
        for wire in [*(sent.wire() for sent in NASTY + BY_NGINX), *RAW]:
            exchange(front, wire)
    return directory


@pytest.mark.real_server("nginx")
@pytest.mark.parametrize("name", NGINX_LOGS)
def test_every_line_of_nginx_is_what_was_sent(by_nginx: Path, name: str) -> None:
    number = list(NGINX_LOGS).index(name)
    log_format = choose(f"@{by_nginx / 'nginx.conf'}:format_{number}")
    data = (by_nginx / f"{number}.log").read_bytes()

    found = entries(log_format, data)

    assert [entry.line for entry in found if entry.rejected] == []
    assert len(found) == len(NASTY + BY_NGINX + RAW)
    for sent, entry in zip(NASTY + BY_NGINX, found, strict=False):
        assert entry.target == sent.target
        assert entry.method == sent.method.decode()
        if "request_time" in log_format.layout:
            assert entry.duration_us is not None
        _same_headers(log_format, entry.line, sent, "http_user_agent", "http_referer", "http_x_forwarded_for")
    statuses = {entry.status for entry in found}
    assert {200, 204, 400, 404, 405, 502} <= statuses


@pytest.mark.real_server("nginx")
def test_what_was_no_request_is_parsed_and_not_the_apps(by_nginx: Path) -> None:
    number = list(NGINX_LOGS).index("timed")
    log_format = choose(f"@{by_nginx / 'nginx.conf'}:format_{number}")

    refused = entries(log_format, (by_nginx / f"{number}.log").read_bytes())[-len(RAW) :]

    assert [(entry.method, entry.target) for entry in refused] == [
        *(("GET", b"/%00%zz"), ("-", b""), ("-", b"")),
        *(("GET", b"/health"), ("GET", b"/")),
    ]


@pytest.mark.real_server("nginx")
def test_times_of_several_upstreams_add_up(by_nginx: Path) -> None:
    number = list(NGINX_LOGS).index("upstream lists")
    log_format = choose(f"@{by_nginx / 'nginx.conf'}:format_{number}")
    named = log_format.assign("duration", "upstream_response_time")
    data = (by_nginx / f"{number}.log").read_bytes()

    entry = next(entry for entry in entries(named, data) if entry.target == b"/docs/x")

    times = parse_line(log_format, entry.line)["upstream_response_time"].decode()  # type: ignore[index]
    assert " : " in times
    assert entry.duration_us == sum(round(float(part) * 1e6) for part in times.split(" : "))


def _same_headers(
    log_format: LogFormat, line: bytes, sent: Sent, agent: str, referer: str, forwarded: str
) -> None:
    """Check that the line's other values are what was sent; the keys of JSON may differ."""
    if log_format.is_json:
        return
    values = parse_line(log_format, line)
    if values is None and log_format.server == "gunicorn" and b"\\" in sent.agent + sent.referer:
        return  # cannot be told where such values end
    assert values is not None
    known = {agent: sent.agent, referer: sent.referer, forwarded: sent.forwarded}
    assert {name: values[name] for name in known if name in values} == {
        name: value for name, value in known.items() if name in values
    }


# --- gunicorn -------------------------------------------------------------------------------------------

NEXT = "<|next|>"
"""Stands between a dozen formats in the one format string that a gunicorn has."""

GUNICORN_FORMATS = {
    "default": GUNICORN_DEFAULT,
    "microseconds": GUNICORN_DEFAULT + " %(D)s",
    "seconds": GUNICORN_DEFAULT + " %(L)s",
    "milliseconds": GUNICORN_DEFAULT + " %(M)sms",
    "whole seconds": GUNICORN_DEFAULT + " %(T)s %(p)s",
    "forwarded": GUNICORN_DEFAULT + ' "%({X-Forwarded-For}i)s" %(D)s',
    "forwarded first": '%({x-forwarded-for}i)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s %(L)s',
    "parts": "%(t)s %(m)s %({raw_uri}e)s %(H)s %(s)s %(B)s %(D)s",
    "tabs": "%(h)s\t%(m)s\t%({raw_uri}e)s\t%(s)s\t%(D)s",
    "no quotes": "%(s)s %(L)s %(r)s",
    "headers": '"%({host}i)s" "%({content-type}o)s" "%({server_port}e)s" "%({none}i)s" "%(r)s" %(s)s %(D)s "%(a)s"',
    "JSON": '{"request": "%(r)s", "status": "%(s)s", "us": %(D)s, "agent": "%(a)s", "referer": "%(f)s"}',
    "JSON, agent first": '{"agent": "%(a)s", "m": "%(m)s", "u": "%({raw_uri}e)s", "s": %(s)s, "us": %(D)s}',
}

TAKEN = [sent for sent in NASTY if sent.target.isascii()]
"""gunicorn refuses the others, and logs nothing of them."""


@pytest.fixture(scope="module")
def by_gunicorn(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    directory = tmp_path_factory.mktemp("gunicorn")
    log = directory / "gunicorn.log"
    log_format = NEXT.join(GUNICORN_FORMATS.values())
    with gunicorn("shop:app", directory=SAMPLE_LOGS, log=log, log_format=log_format) as app:
        for sent in TAKEN:
            exchange(app, sent.wire())
    return log.read_bytes().splitlines()


@pytest.mark.parametrize("name", GUNICORN_FORMATS)
def test_every_line_of_gunicorn_is_what_was_sent(by_gunicorn: list[bytes], name: str) -> None:
    log_format = parse_layout(GUNICORN_FORMATS[name])
    number = list(GUNICORN_FORMATS).index(name)
    lines = [line.split(NEXT.encode())[number] for line in by_gunicorn]

    found = entries(log_format, b"".join(line + b"\n" for line in lines))

    assert len(found) == len(TAKEN)
    assert [entry.line for entry in found if entry.rejected] == []
    for sent, entry in zip(TAKEN, found, strict=True):
        assert log_format.unescape(_latin_1(log_format, entry.target)) == sent.target
        assert entry.method == sent.method.decode()
        assert (entry.duration_us is None) == (name == "default")
        _same_headers(log_format, entry.line, sent, "a", "f", "{x-forwarded-for}i")


def _latin_1(log_format: LogFormat, target: bytes) -> bytes:
    """Decode a target of JSON, which is the UTF-8 of what gunicorn had read as Latin-1."""
    return target.decode().encode("latin-1") if log_format.is_json else target


def test_the_formats_are_a_dozen_each_and_json_is_json(by_gunicorn: list[bytes]) -> None:
    assert len(NGINX_LOGS) >= 12
    assert len(GUNICORN_FORMATS) >= 12
    assert json.loads(by_gunicorn[0].split(NEXT.encode())[-1])["s"] == 200
