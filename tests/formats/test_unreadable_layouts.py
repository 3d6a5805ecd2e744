"""Layouts whose lines nobody could take apart are refused; those that are accepted take linear time."""

from __future__ import annotations

import time

import pytest

from logstatsd.errors import FormatError
from logstatsd.formats.logformat import LogFormat, parse_layout
from logstatsd.formats.reader import reader_of
from logstatsd.formats.text_reader import parse_line

TOUCHING = {
    "$http_a$http_b $request $status": ("$http_a", "$http_b"),
    '"$request" $status $http_a$http_b': ("$http_a", "$http_b"),
    '"$request" $status "$http_referer $http_user_agent" $http_x$http_y': ("$http_x", "$http_y"),
    '$http_a$http_b$http_c "$request" $status': ("$http_a", "$http_b"),
    "$http_a$remote_addr $request $status": ("$http_a", "$remote_addr"),
    "$request$status": ("$request", "$status"),
    "%(m)s %(U)s%(q)s %(s)s": ("%(U)s", "%(q)s"),
}
READABLE = (
    '"$request" $status "$http_referer $http_user_agent" $http_x',
    '"$http_a $http_b $http_c" "$request" $status',
    '$http_a, $http_b; $http_c "$request" $status',
    '"$request_method $uri$is_args$args" $status $http_a',
    "%m %U%q %>s %{X}i",
    "$remote_addr$host$status $request $http_a",
)
LINES = (b'a "b', b" ", b"x ", b"- ", b"a, b; ", b'"GET / HTTP/1.1" 200 "', b"200 - ", b"?a=")


@pytest.mark.parametrize("layout", TOUCHING)
def test_variables_that_touch_are_named(layout: str) -> None:
    with pytest.raises(FormatError) as refused:
        parse_layout(layout)
    one, other = TOUCHING[layout]
    assert f"{one} right before {other}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("layout", READABLE)
def test_a_line_of_twice_the_length_takes_twice_the_time(layout: str) -> None:
    log_format = parse_layout(layout)
    reader = reader_of(log_format, ("request", "method", "target", "path", "status", "duration", "time"))

    def seconds(repeats: int) -> float:
        lines = [piece * (repeats // len(piece)) for piece in LINES]
        started = time.process_time()
        for line in lines:
            reader.rows(line + b"\n")
            reader.again(line)
            parse_line(log_format, line)
        return time.process_time() - started

    seconds(100)
    assert min(seconds(32_000) for _ in range(3)) < 4 * min(seconds(8_000) for _ in range(3)) * 2 + 0.01


def test_a_path_and_its_query_may_touch() -> None:
    nginx = parse_layout('"$request_method $uri$is_args$args" $status')
    assert parse_line(nginx, b'"GET /a/b?c=d" 200') == {
        "request_method": b"GET", "uri": b"/a/b", "is_args": b"?c=d", "args": b"", "status": b"200",
    }  # fmt: skip
    apache = parse_line(parse_layout("%m %U%q %>s"), b"GET /a/b?c=d 200")
    assert apache is not None
    assert (apache["U"], apache["q"]) == (b"/a/b", b"?c=d")


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ('"$request"\n$status', "has a line break"),
        ("$http_a " * 10_000 + "$request $status", "has 10,002 variables"),
        (" ", "neither a format's name nor a format string"),
        ("only text", "neither a format's name nor a format string"),
        ("\0", "neither a format's name nor a format string"),
    ],
)
def test_what_is_no_layout_is_refused_in_one_line(layout: str, words: str) -> None:
    with pytest.raises(FormatError, match=words) as refused:
        parse_layout(layout)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("odd", ["\r", "\0", "\x1b"])
def test_odd_characters_in_a_layout_are_literals(odd: str) -> None:
    log_format = parse_layout(f'"$request"{odd} $status')
    reader = reader_of(log_format, ("request", "status"))
    assert reader.rows(f'"GET /a HTTP/1.1"{odd} 200\n'.encode()) == [(b"GET /a", b"200", b"")]


def test_as_many_variables_as_are_read_take_no_time_to_understand() -> None:
    layout = " ".join(["$http_a $remote_addr"] * 127) + " $request $status"
    started = time.process_time()
    reader_of(LogFormat("long", layout, "nginx"), ("request", "status")).rows(b"x\n")
    assert time.process_time() - started < 5
