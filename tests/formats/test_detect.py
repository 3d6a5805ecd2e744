"""Detection of a log's format: by how many of its first lines fit, then by how values are escaped."""

from __future__ import annotations

import json

import pytest
import sample
from places import SAMPLE_LOGS
from reading import choose, entry

from logstatsd.errors import FormatError
from logstatsd.formats.detect import Detected, detect
from logstatsd.formats.logformat import parse_layout
from logstatsd.formats.presets import FORMATS
from logstatsd.scan.scanner import Scanner


def found_in(*lines: str | bytes, **fields: str) -> Detected:
    head = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    return detect(head, "access.log", fields=fields)


# --- text -----------------------------------------------------------------------------------------------

SAME_LAYOUT = {"gunicorn-default": "combined", "apache-combined": "combined", "apache": "gunicorn"}
"""Formats whose sample could as well be another's; what is read of it is the same."""


@pytest.mark.parametrize("name", [name for name, preset in FORMATS.items() if preset.detected])
def test_a_presets_sample_is_found_to_be_in_it(name: str) -> None:
    found = found_in(FORMATS[name].sample)

    assert found.log_format.name == SAME_LAYOUT.get(name, name)
    assert (found.fitting, found.looked_at, found.note) == (1, 1, FORMATS[found.log_format.name].note)


@pytest.mark.parametrize(
    ("name", "log"),
    [
        ("nginx", "nginx.log"),
        ("json", "nginx.json.log"),
        ("gunicorn", "gunicorn.log"),
        ("gunicorn-default", "gunicorn_default.log"),
    ],
)
def test_the_recorded_logs(name: str, log: str) -> None:
    assert detect((SAMPLE_LOGS / log).read_bytes(), log).log_format.name == name


COMBINED = FORMATS["combined"].sample


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (rb"\x22quoted\x22", "combined"),
        (rb"\xC3\xBC", "combined"),
        (rb"\"quoted\"", "gunicorn-default"),
        (b"\xc3\xbc", "gunicorn-default"),
        (b"C:\\", "gunicorn-default"),
        (rb"\xc3\xbc", "apache-combined"),
        (rb"C:\\", "apache-combined"),
    ],
)
def test_between_equal_layouts_the_escapes_decide(agent: bytes, name: str) -> None:
    odd = COMBINED.encode().replace(b"curl/8.5", agent)

    assert found_in(*[COMBINED] * 20, odd).log_format.name == name


NOISE = (
    "",
    "Starting up",
    "\x00\x00",
    "{",
    "[2026-11-22 13:25:15 +0000] [7] [INFO] Booting worker with pid: 7",
)


@pytest.mark.parametrize(
    "name", ["nginx", "gunicorn", "gunicorn-seconds", "uwsgi", "ingress-nginx", "werkzeug"]
)
def test_broken_and_foreign_lines_do_not_matter(name: str) -> None:
    sample = FORMATS[name].sample
    broken = [sample[:60], sample[20:], sample.replace("200", "two"), sample.replace("[", "(")]

    found = found_in(*NOISE, *broken, *[sample] * 12, *NOISE)

    assert found.log_format.name == name
    assert found.fitting == 12


def test_another_programs_colours_do_not_make_a_log_a_coloured_one() -> None:
    lines = (SAMPLE_LOGS / "nginx.log").read_bytes() + b"\x1b[31mworker\x1b[0m exiting\n"
    assert detect(lines, "nginx.log").log_format.envelopes == ()


def test_a_log_that_got_its_durations_lately_is_read_for_them() -> None:
    assert found_in(*[COMBINED] * 8, *[FORMATS["nginx"].sample] * 12).log_format.name == "nginx"
    assert found_in(*[COMBINED] * 12, *[FORMATS["nginx"].sample] * 3).log_format.name == "combined"


def test_columns_that_are_not_known_do_not_hide_the_request() -> None:
    found = found_in(COMBINED + ' 0.042 "-" tls=1.3 x')

    assert found.log_format.name == "combined-and-more"
    assert "give the server's own format string" in found.note


@pytest.mark.parametrize(
    ("number", "name", "source"),
    [
        ("0.042", "nginx", "$request_time (seconds, to the millisecond)"),
        ("0.042137", "gunicorn-seconds", "%(L)s (seconds, to the microsecond)"),
        ("42137", "gunicorn", "%(D)s (microseconds)"),
    ],
)
def test_a_bare_number_at_the_end_is_told_by_its_decimals(number: str, name: str, source: str) -> None:
    found = found_in(f"{COMBINED} {number}")

    assert found.log_format.name == name
    assert found.log_format.duration_source == source
    assert ("microseconds" in found.note) == (name == "gunicorn")


def test_no_fit_names_the_closest_format_and_the_column() -> None:
    with pytest.raises(FormatError) as refused:
        found_in(COMBINED.replace('" 200', '" two'))

    assert str(refused.value) == (
        "access.log: no line fits a known format; the closest, 'common', stops at column 76 of the first "
        "line, where it wants $status; give the server's own format string by --log-format"
    )


# --- JSON -----------------------------------------------------------------------------------------------

JSON_LINES = {
    "nginx": (
        {"time_iso8601": "2026-11-22T13:25:15+00:00", "request": "GET /a?b HTTP/1.1", "status": "200",
         "request_time": "0.042", "upstream_addr": "10.0.0.1:80"},
        "request_time (seconds)",
    ),
    "gunicorn, its own names": ({"m": "GET", "uri": "/a?b", "s": 200, "duration_us": 42000}, None),
    "a WSGI logger": (
        {"method": "GET", "path": "/a?b", "status_code": 200, "duration_ms": 42.0, "ts": 1795353915.25},
        "duration_ms (milliseconds, maybe with decimals)",
    ),
    "Elastic Common Schema": (
        {"@timestamp": "2026-11-22T13:25:15Z", "http": {"request": {"method": "GET"},
         "response": {"status_code": 200}}, "url": {"original": "/a?b", "path": "/a"},
         "event": {"duration": 42000000}},
        "event.duration (nanoseconds)",
    ),
    "OpenTelemetry": (
        {"http.request.method": "GET", "url.path": "/a?b", "http.response.status_code": 200,
         "duration": 0.042},
        "duration (seconds)",
    ),
    "Caddy": (
        {"ts": 1795353915.25, "request": {"method": "GET", "uri": "/a?b", "host": "x"}, "status": 200,
         "duration": 0.042},
        "duration (seconds)",
    ),
    "Traefik": (
        {"RequestMethod": "GET", "RequestPath": "/a?b", "DownstreamStatus": 200, "Duration": 42000000},
        "Duration (nanoseconds)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JSON_LINES)
def test_json_is_understood_by_the_names_of_its_keys(name: str) -> None:
    item, source = JSON_LINES[name]
    line = json.dumps(item)

    found = found_in(line)

    one = entry(found.log_format, line.encode())
    assert (one.method, one.target, one.status, one.duration_us) == ("GET", b"/a?b", 200, 42_000)
    assert source is None or found.log_format.duration_source == source


def test_json_that_begins_with_other_lines_is_json() -> None:
    line = json.dumps(JSON_LINES["nginx"][0])

    assert found_in("Booting", COMBINED, "{", *[line] * 9).log_format.name == "json"
    assert found_in(line, *[COMBINED] * 9).log_format.name == "combined"


@pytest.mark.parametrize(
    ("values", "us", "said"),
    [
        (
            [0.5, 1, 2.25],
            [500_000, 1_000_000, 2_250_000],
            "'took' is taken as seconds, since its numbers have decimals",
        ),
        (["42137", 7], [42_137, 7], "'took' is taken as microseconds, since its numbers have no decimals"),
    ],
)
def test_a_duration_of_unknown_unit_is_told_by_its_decimals(
    values: list[object], us: list[int], said: str
) -> None:
    lines = [json.dumps({"method": "GET", "url": "/a", "status": 200, "took": value}) for value in values]

    found = found_in(*lines)

    assert [entry(found.log_format, line.encode()).duration_us for line in lines] == us
    assert said in found.note
    assert "--field duration=took:ms" in found.note


def test_keys_and_units_may_be_given() -> None:
    line = json.dumps({"verb": "GET", "where": "/a", "result": 200, "spent": 42})

    with pytest.raises(
        FormatError, match=r"no key known for the status and the target; they have verb, where"
    ):
        found_in(line)
    found = found_in(line, target="where", status="result", duration="spent:ms").log_format

    assert entry(found.assign("duration", "spent:ms"), line.encode()).duration_us == 42_000


def test_a_units_suffix_goes_with_any_variable() -> None:
    layout = parse_layout('"$request" $status $sent_http_x_took')
    line = b'"GET /a HTTP/1.1" 200 42'

    assert entry(layout.assign("duration", "$sent_http_x_took:ms"), line).duration_us == 42_000
    with pytest.raises(FormatError, match=r"say the unit of 'sent_http_x_took'"):
        _ = layout.assign("duration", "sent_http_x_took").chosen


# --- given ----------------------------------------------------------------------------------------------


def test_a_format_that_was_given_is_not_questioned() -> None:
    found = detect(FORMATS["gunicorn"].sample.encode() + b"\n", "access.log", given="gunicorn-ms")

    assert found.log_format == choose("gunicorn-ms")
    assert found.fitting == 1
    assert detect(b"nonsense\n", "access.log", given="gunicorn-ms").fitting == 0


@pytest.mark.parametrize("name", ["nginx.log", "gunicorn.log", "gunicorn_default.log", "nginx.json.log"])
def test_lines_that_end_as_windows_ends_them_are_the_same_lines(name: str) -> None:
    lines = (SAMPLE_LOGS / name).read_bytes()
    found, there = (detect(head, name).log_format for head in (lines, lines.replace(b"\n", b"\r\n")))
    assert found == there
    plain, ended = (
        Scanner(found, sample.router()).scan(data) for data in (lines, lines.replace(b"\n", b"\r\n"))
    )
    assert (ended.timings, ended.counts.rejected) == (plain.timings, plain.counts.rejected)
