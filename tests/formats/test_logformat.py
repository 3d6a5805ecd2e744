"""Format strings of nginx, gunicorn and Apache: what is read from their lines, however they are made up."""

from __future__ import annotations

import json
import pickle
import time
from dataclasses import asdict, replace

import pytest
import rendering
from hypothesis import assume, example, given
from hypothesis import strategies as st
from reading import entries, entry

from logstatsd.errors import FormatError
from logstatsd.formats.fields import APACHE, GUNICORN, NGINX, Field
from logstatsd.formats.logformat import LogFormat, parse_layout
from logstatsd.formats.presets import FORMATS, NGINX_COMBINED, Preset
from logstatsd.formats.text_reader import parse_line
from logstatsd.formats.times import iso_logged

TIMED = FORMATS["nginx"].log_format
GUNICORN_TIMED = FORMATS["gunicorn"].log_format

# --- the formats known by name --------------------------------------------------------------------------


@pytest.mark.parametrize("preset", FORMATS.values(), ids=FORMATS)
def test_a_preset_reads_its_sample_as_its_row_says(preset: Preset) -> None:
    found = entry(preset.log_format, preset.sample.encode())

    assert found.rejected == ""
    assert (found.method, found.target.decode(), found.status) == preset.expected[:3]
    assert (iso_logged(found.time), found.duration_us) == preset.expected[3:]


@pytest.mark.parametrize("preset", FORMATS.values(), ids=FORMATS)
def test_a_preset_understands_all_that_its_layout_names(preset: Preset) -> None:
    parsed = parse_line(preset.log_format, preset.sample.encode())

    assert parsed is not None
    assert len(parsed) == len(preset.log_format.variables)


def test_a_format_pickles_small_and_survives_json() -> None:
    _ = TIMED.chosen, TIMED.rules

    assert len(pickle.dumps(TIMED)) < 600
    assert pickle.loads(pickle.dumps(TIMED)) == TIMED
    named = replace(TIMED.assign("duration", "request_time"), envelopes=("cri",))
    assert LogFormat.from_data(json.loads(json.dumps(asdict(named)))) == named


# --- any format string ----------------------------------------------------------------------------------

METHODS = st.sampled_from([b"GET", b"POST", b"M-SEARCH", b"_x"])
TARGETS = st.binary(max_size=20).map(lambda tail: b"/" + tail.translate(None, b" \n\r\t\x00"))
REQUESTS = st.tuples(METHODS, TARGETS, st.sampled_from([b"", b" HTTP/1.0", b" HTTP/1.1"])).map(
    lambda parts: parts[0] + b" " + parts[1] + parts[2]
)
GARBAGE = st.sampled_from([b"", b"-", b"\x16\x03\x01\x02", b"SSH-2.0-OpenSSH_9.6", b"GET /a b HTTP/1.1"])

SPECIMENS = {
    "request": REQUESTS | GARBAGE,
    "clf": st.just(b"22/Nov/2026:13:25:15 +0000"),
    "clf_bracketed": st.just(b"[22/Nov/2026:13:25:15 +0000]"),
    "iso": st.sampled_from([b"2026-11-22T13:25:15+00:00", b"2026-11-22T02:25:15-11:00"]),
    "dash": st.just(b"-"),
    "status": st.sampled_from([b"200", b"404", b"000"]),
    "number": st.from_regex(rb"-|\d{1,9}|\d{1,9}\.\d{3}", fullmatch=True),
    "decimal": st.sampled_from([b"0.042", b"-", b"60.000"]),
    "integer": st.sampled_from([b"42137", b"-", b"0"]),
    "word": st.sampled_from(
        [b"192.0.2.7", b"2001:db8::7", b"unix:", b"HTTP/1.1", b"shop.example", b"-", b"0.042"]
    ),
    "list": st.lists(
        st.sampled_from([b"0.010", b"-", b"[::1]:8000", b"127.0.0.1:80", b"unix:/run/app.sock"]),
        min_size=1,
        max_size=4,
    ).map(b", ".join),
}
"""Values as servers log them, by kind of variable."""

NAMED = {
    "nginx": {**NGINX, "http_x_anything": Field("text"), "cookie_a": Field("text"), "arg_q": Field("text")},
    "gunicorn": {**GUNICORN, "{x-any}i": Field("text"), "{x-any}o": Field("text"), "{a.b}e": Field("text")},
    "apache": {**APACHE, "{x-any}i": Field("text"), "{x-any}o": Field("text"), "{A}e": Field("text")},
}
SPELL = {"nginx": "${{{}}}", "gunicorn": "%({})s", "apache": "%{}"}
ENCLOSED = {'"': '"', "[": "]", "": "", "<": ">"}
SEPARATORS = (" ", "\t", " | ", ";", " - ")


@st.composite
def lines(
    draw: st.DrawFn, server: str, *, backslashes: bool = True, escape: str = ""
) -> tuple[LogFormat, list[bytes], bytes]:
    """A format string over a server's variables, values for them, and the line that the server writes."""
    known = NAMED[server]
    needed = {"nginx": ["request", "status"], "gunicorn": ["r", "s"], "apache": ["r", "s"]}[server]
    names = draw(st.lists(st.sampled_from(sorted(set(known) - set(needed))), max_size=6, unique=True))
    names = draw(st.permutations([*names, *needed]))
    separator = draw(st.sampled_from(SEPARATORS))
    layout, values = "", []
    for name in names:
        field = known[name]
        free = field.kind in ("text", "request")
        opening = draw(st.sampled_from(sorted(ENCLOSED)))
        layout += separator * bool(layout) + opening + SPELL[server].format(name) + ENCLOSED[opening]
        value = draw(SPECIMENS.get(field.kind, st.binary(max_size=20)))
        if server == "gunicorn":
            value = value.translate(None, b"\n\r" if backslashes else b"\n\r\\")
        if free and opening != '"':  # what would end a value that nothing quotes cannot be told from its end
            value = value.translate(None, (separator + opening + ENCLOSED[opening] + ' "').encode())
        if field.kind == "list" and separator == ";":
            value = value.partition(b", ")[0]
        values.append(value)
    log_format = parse_layout(layout)
    assert log_format.server == server
    if escape:
        log_format = replace(log_format, escape=escape)
    return log_format, values, rendering.render(log_format, values)


def logged(value: bytes) -> bytes:
    """An empty value is logged as `-`, and stays so."""
    return value or b"-"


@pytest.mark.parametrize("server", ["nginx", "gunicorn", "apache"])
@given(st.data())
def test_every_variable_of_a_line_comes_back_as_it_was(server: str, data: st.DataObject) -> None:
    log_format, values, line = data.draw(lines(server, backslashes=server != "gunicorn"))

    parsed = parse_line(log_format, line)

    assert parsed is not None, (log_format.layout, line)
    assert list(parsed.values()) == [logged(value) for value in values]


@given(lines("nginx") | lines("gunicorn", backslashes=False) | lines("apache"))
def test_reading_blocks_agrees_with_reading_every_variable(
    drawn: tuple[LogFormat, list[bytes], bytes],
) -> None:
    log_format, values, line = drawn
    by_role = {role: values[log_format.variables.index(token)] for role, token in log_format.chosen.items()}
    method, _, rest = by_role["request"].partition(b" ")
    target, _, protocol = rest.partition(b" ")

    found = entry(log_format, line)

    if found.rejected == "bad duration":
        assume(False)
    assert found.rejected == "", (log_format.layout, line)
    assert found.status == int(by_role["status"])
    spelled = SPELL[log_format.server].format(log_format.chosen["request"].name)
    quoted = f'"{spelled}"' in log_format.layout  # else only the protocol tells that it is a request
    well_formed = target and (protocol.startswith(b"HTTP/") or (quoted and not protocol))
    assert found.target == (target if well_formed else b"")
    assert found.method in ((method.decode(), "_OTHER") if well_formed else ("-",))


@given(lines("nginx", escape="json"))
def test_nginxs_escape_json_comes_back_too(drawn: tuple[LogFormat, list[bytes], bytes]) -> None:
    log_format, values, line = drawn

    parsed = parse_line(log_format, line)

    assert parsed is not None, (log_format.layout, line)
    assert list(parsed.values()) == values


# --- gunicorn's one-way escaping ------------------------------------------------------------------------


@example(agent=b"\\", referer=b"\\")
@example(agent=b'\\"', referer=b"")
@given(agent=st.binary(max_size=30), referer=st.binary(max_size=30))
def test_gunicorns_request_status_and_duration_come_out_whatever_the_headers_hold(
    agent: bytes, referer: bytes
) -> None:
    """gunicorn escapes quotes but not backslashes: headers that end in one cannot be told, the rest can."""
    texts = [value.translate(None, b"\r\n") for value in (referer, agent)]
    values = [b"192.0.2.7", b"-", b"-", b"[22/Nov/2026:13:25:15 +0000]", b"GET /a?b HTTP/1.1", b"200", b"5"]
    line = rendering.render(GUNICORN_TIMED, [*values, *texts, b"42137"])

    found = entry(GUNICORN_TIMED, line)

    assert (found.rejected, found.method, found.target) == ("", "GET", b"/a?b")
    assert (found.status, found.duration_us) == (200, 42_137)


def test_gunicorns_own_refusals_are_not_the_apps() -> None:
    refused = b'127.0.0.1 - - [22/Nov/2026:13:25:15 +0000] "GET /a HTTP/1.1" 400 0 "-" "-" 17'
    answered = refused.replace(b'400 0 "-" "-"', b'400 0 "-" "curl"')

    routes = [found.route for found in entries(GUNICORN_TIMED, refused + b"\n" + answered + b"\n")]

    assert [route.outcome for route in routes if route] == ["not_the_app", "unmatched"]


# --- requests that are none -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"-",
        rb"\x16\x03\x01\x00\xCA\x01 \x03",
        b"SSH-2.0-OpenSSH_9.6",
        b"GET",
        b"GET /a b HTTP/1.1",
        b"\\\\",
    ],
)
def test_a_line_whose_request_is_garbage_is_parsed_and_not_the_apps(request_line: bytes) -> None:
    line = b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "%s" 400 157 "-" "-" 0.006' % request_line

    found = entry(TIMED, line)

    assert (found.rejected, found.method, found.status, found.duration_us) == ("", "-", 400, 6_000)
    assert found.route
    assert found.route.outcome == "not_the_app"


def test_http_0_9_has_no_protocol() -> None:
    found = entry(TIMED, b'::1 - - [22/Nov/2026:13:25:15 +0000] "GET /html" 200 157 "-" "-" 0.006')

    assert (found.method, found.target) == ("GET", b"/html")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty"),
        (b" \r", "empty"),
        (b"nonsense", "no match"),
        (b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET / HTTP/1.1" 200 512 "-" "-" 0.04', "bad duration"),
        (b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET / HTTP/1.1" 200 512 "-" "-" -1', "bad duration"),
        (b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET / HTTP/1.1" 20 512 "-" "-" 0.042', "no match"),
        (b"a" * 70_000, "too long"),
    ],
)
def test_a_line_that_does_not_fit_is_rejected_for_a_reason(line: bytes, reason: str) -> None:
    assert entry(TIMED, line).rejected == reason


# --- what is chosen of a format -------------------------------------------------------------------------


def test_the_duration_is_the_one_named_else_the_whole_requests() -> None:
    layout = NGINX_COMBINED + " $upstream_response_time $request_time"

    assert parse_layout(layout).duration_source == "$request_time (seconds, to the millisecond)"
    named = parse_layout(layout).assign("duration", "$upstream_response_time")
    assert named.duration_source == "$upstream_response_time (seconds of each upstream, added)"
    assert entry(named, b"%s 0.010, 0.020 : - 0.042" % TIMED_HEAD).duration_us == 30_000


TIMED_HEAD = FORMATS["nginx"].sample.encode().rpartition(b" ")[0]


def test_a_name_that_is_not_in_the_format_is_refused_with_those_that_are() -> None:
    with pytest.raises(FormatError, match=r"no duration 'rt'; it has: request_time"):
        _ = TIMED.assign("duration", "rt").chosen


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("nonsense", "neither a format's name nor a format string"),
        ("$remote_addr $status", "no method and no target"),
        ('"$request"', "no status"),
        ("%(m)s %(s)s", "no target"),
    ],
)
def test_a_format_string_that_cannot_do_is_refused_in_one_line(layout: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as refused:
        parse_layout(layout)
    assert "\n" not in str(refused.value)


# --- work that grows with the line, no faster -----------------------------------------------------------

HOSTILE = {
    "user": b'1 - %s [22/Nov/2026:13:25:15 +0000] "GET / HTTP/1.1" 200 5 "-" "-" 0.001',
    "request": b'1 - - [22/Nov/2026:13:25:15 +0000] "GET /%s HTTP/1.1" 200 5 "-" "-" 0.001',
    "garbage": b'1 - - [22/Nov/2026:13:25:15 +0000] "%s" 200 5 "-" "-" 0.001',
    "agent": b'1 - - [22/Nov/2026:13:25:15 +0000] "GET / HTTP/1.1" 200 5 "-" "%s" 0.001',
    "tail": b'1 - - [22/Nov/2026:13:25:15 +0000] "GET / HTTP/1.1" 200 5 "-" "-" %s',
    "all of it": b"%s",
}
FILLINGS = (
    b"a",
    b" ",
    b"-",
    b" [",
    b'\\"',
    b'" ',
    b", ",
    b" - ",
    b"0",
    b"\\x22",
    b" [22/Nov/2026:13:25:15 +0000] ",
    b'" 200 ',
    b"GET / ",
    b'" 200 5 "-" "-" ',
    b": ",
    b"1.1 ",
    b"1, ",
    b"?#",
)
LAYOUTS = {
    **{name: preset.log_format for name, preset in FORMATS.items()},
    "bare texts": parse_layout(
        "$http_a $http_b - $upstream_addr $pid $status-$request-$connection $http_c $pid"
    ),
    "bare words": parse_layout(
        "$remote_addr:$remote_port-$pid.$hostname:$status $request $http_a $server_name:$pid"
    ),
    "lists": parse_layout(
        "$http_a $upstream_addr $upstream_status : $status $request $http_b, $upstream_addr"
    ),
    "gunicorn texts": parse_layout('%(h)s "%(a)s" "%({x}i)s" %(r)s %(s)s "%(f)s" "%({y}i)s" %({z}i)s %(D)s'),
}


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_hostile_line_takes_time_in_proportion_to_its_length(name: str) -> None:
    """64 KiB at most eight times as much as a length of 16 KiB, which leaves room for a busy machine."""
    log_format = LAYOUTS[name]
    for shape in HOSTILE.values():
        for filling in FILLINGS:
            short, long = (shape % (filling * (size // len(filling))) for size in (16_000, 64_000))
            took_s = _best_s(log_format, long)
            assert took_s < 0.1 or took_s < 8 * _best_s(log_format, short), (shape, filling)


def _best_s(log_format: LogFormat, line: bytes) -> float:
    def once() -> float:
        start = time.process_time()
        entry(log_format, line)
        return time.process_time() - start

    return min(once() for _ in range(2))
