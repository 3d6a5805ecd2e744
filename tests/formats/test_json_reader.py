"""JSON logs: one bad line is one rejected line, numbers may be strings, and some JSON is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import entries, entry

from logstatsd.formats.detect import json_format
from logstatsd.formats.logformat import LogFormat, parse_layout

NGINX = LogFormat(
    "given",
    '{"time":"$time_iso8601","method":"$request_method","uri":"$request_uri","status":$status,'
    '"took":$request_time,"up":"$upstream_addr","up_took":$upstream_response_time,"agent":"$http_user_agent"}',
    "nginx",
)
GUNICORN = parse_layout('{"r": "%(r)s", "s": %(s)s, "us": %(D)s, "a": "%(a)s"}')
GOOD = {"time": "2026-11-22T13:25:15+00:00", "method": "GET", "uri": "/a?b", "status": 200, "took": 0.042}


def line(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("GET", b"/a?b", 200, 42_000)),
        ({"status": "404", "took": "0.001"}, ("GET", b"/a?b", 404, 1_000)),
        ({"took": None}, ("GET", b"/a?b", 200, None)),
        ({"took": ""}, ("GET", b"/a?b", 200, None)),
        ({"uri": ""}, ("-", b"", 200, 42_000)),
        ({"uri": None, "method": None}, ("-", b"", 200, 42_000)),
        ({"uri": "/\u00fc\ud83d"}, ("GET", "/ü?".encode(), 200, 42_000)),
        ({"agent": '\\ " \x00 \U0001f600'}, ("GET", b"/a?b", 200, 42_000)),
    ],
)
def test_values_are_read_as_numbers_strings_or_nothing(
    changes: dict[str, object], expected: tuple[object, ...]
) -> None:
    found = entry(NGINX, line(**changes))

    assert (found.method, found.target, found.status, found.duration_us) == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": None}, "no match"),
        ({"status": 20}, "no match"),
        ({"status": "٢٠٠"}, "no match"),
        ({"took": "0.04"}, "bad duration"),
        ({"took": -1}, "bad duration"),
        ({"took": [0.042]}, "bad duration"),
        ({"took": True}, "bad duration"),
    ],
)
def test_what_cannot_be_is_rejected(changes: dict[str, object], reason: str) -> None:
    assert entry(NGINX, line(**changes)).rejected == reason


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{",
        b"}",
        b"[]",
        b"[1",
        b"],[",
        b'{"a":[1],[2]}',
        b"null",
        b"7",
        b'"x"',
        b"[" * 5_000,
        b'{"a":' * 5_000,
        b"\xff\xfe",
        line() + line(),
        line()[:-1],
        line() + b"],[" + line(),
    ],
)
def test_one_bad_line_rejects_that_line_alone(bad: bytes) -> None:
    found = entries(NGINX, b"\n".join([line(uri="/1"), bad, line(uri="/2"), b""]))

    assert [each.target for each in found if not each.rejected] == [b"/1", b"/2"]
    assert [each.line for each in found if each.rejected] == [bad]


def test_bytes_that_are_no_utf8_pass_through() -> None:
    assert entry(NGINX, line(uri="/MARK").replace(b"MARK", b"\xff\xc3")).target == b"/\xff\xc3"


@pytest.mark.parametrize(
    ("log_format", "raw", "expected"),
    [
        # nginx with default escaping, where escape=json was meant
        (NGINX, rb'{"uri":"/\xC3\xBC\x22","method":"GET","status":200,"took":0.042}', b'/\xc3\xbc"'),
        # nothing, and a list, where a number was meant
        (NGINX, rb'{"uri":"/a","up_took":-,"method":"GET","status":200,"took":0.042}', b"/a"),
        (NGINX, rb'{"uri":"/a","method":"GET","status":200,"took":0.042,"up_took": }', b"/a"),
        (NGINX, rb'{"uri":"/a","method":"GET","up_took":0.1, - : 0.2,"status":200,"took":0.042}', b"/a"),
        # gunicorn escapes quotes but not backslashes
        (GUNICORN, rb'{"r": "GET /a HTTP/1.1", "s": 200, "us": 42000, "a": "C:\dir \"x\" \"}', b"/a"),
        (GUNICORN, rb'{"r": "GET /\a HTTP/1.1", "s": 200, "us": 42000, "a": "\\"}', rb"/\a"),
        (
            parse_layout('{"a": "%(a)s", "r": "%(r)s", "s": %(s)s, "us": %(D)s}'),
            rb'{"a": "\", "r": "GET /a HTTP/1.1", "s": 200, "us": 42000}',
            b"/a",
        ),
    ],
)
def test_what_only_looks_like_json_is_read_too(log_format: LogFormat, raw: bytes, expected: bytes) -> None:
    found = entry(log_format, raw)

    assert (found.rejected, found.target, found.duration_us) == ("", expected, 42_000)


def test_objects_within_objects_are_named_with_a_dot() -> None:
    log_format = LogFormat(
        "json",
        '{"request.method":"$request_method","request.uri":"$request_uri","status":"$status"}',
        "json",
    )

    found = entry(log_format, b'{"request": {"method": "PUT", "uri": "/a"}, "status": 201}')

    assert (found.method, found.target, found.status) == ("PUT", b"/a", 201)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "up", "x"]), inner),
)


@given(
    st.lists(JSON_VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30), max_size=8)
)
def test_any_lines_give_one_entry_each(lines: list[bytes]) -> None:
    data = b"".join(each.replace(b"\n", b"") + b"\n" for each in lines)

    assert [found.line for found in entries(NGINX, data)] == data.split(b"\n")[:-1]


UPSTREAMS = [
    ("0.004", "unmatched"),
    ("", "not_the_app"),
    ("-", "not_the_app"),
    (None, "not_the_app"),
    (..., "unmatched"),
]
"""What a line has as its upstream's time, and what became of the request; some have no such key."""


@pytest.mark.parametrize("duration", [{"request_time": 0.042}, {"duration_ms": 42}, {}])
def test_an_empty_upstream_says_that_no_app_was_asked(duration: dict[str, object]) -> None:
    """Also where the duration is another key, as it should be; a line without the key says nothing."""
    good = {"time": GOOD["time"], "request": "GET /x HTTP/1.1", "status": 200}
    lines = [
        json.dumps(good | duration | ({} if took is ... else {"upstream_response_time": took})).encode()
        + b"\n"
        for took, _ in UPSTREAMS
    ]
    log_format, _ = json_format(lines[0], {})
    assert log_format is not None
    found = entries(log_format, b"".join(lines))
    assert [each.route.outcome for each in found if each.route] == [outcome for _, outcome in UPSTREAMS]
    assert {each.duration_us for each in found} <= ({42_000} if duration else {4_000, None})
