"""Lines that Docker, Kubernetes, syslog and others carry: each is read as the server wrote it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from reading import choose, entries, entry

from logstatsd.formats.detect import detect
from logstatsd.formats.envelopes import ENVELOPES
from logstatsd.formats.presets import FORMATS
from logstatsd.formats.reader import unwrap

NGINX = FORMATS["nginx"]
LINE = NGINX.sample.encode()
AS_JSON = {"docker", "json-message"}

ALSO = {
    "syslog": (
        # nginx to rsyslog's traditional file format, to its ISO one, and through journald
        "Nov  2 13:25:15 web1 nginx: LINE",
        "2026-11-22T13:25:15.042137+00:00 web1 nginx: LINE",
        "Nov 22 13:25:15 web1 nginx[4242]: LINE",
        # nginx with `nohostname`, and what gunicorn sends by itself and rsyslog makes of it
        "<190>Nov 22 13:25:15 nginx: LINE",
        "<14>gunicorn.shop.app.access: [4242] LINE",
        "Nov 22 13:25:15 web1 gunicorn.shop.app.access: [4242] LINE",
    ),
    "syslog-5424": (
        '<190>1 2026-11-22T13:25:15.042Z web1 nginx - - [meta x="a\\]"][more y="\\""] LINE',
        "<190>1 - - - - - - \ufeffLINE",
    ),
    "docker": ('{"log":"LINE\\n","stream":"stderr","attrs":{"tag":"web"},"time":"2026-11-22T13:25:15Z"}',),
    "cri": ("2026-11-22T14:25:15.042137+01:00 stderr F LINE",),
    "json-message": ('{"message": "LINE", "levelname": "INFO", "extra": {"message": 1}}',),
    "terminal": ("\x1b[36mLINE\x1b[0m", "INFO:gunicorn.access:LINE"),
}
WRAPPINGS = [(name, envelope.sample) for name, envelope in ENVELOPES.items()]
WRAPPINGS += [(name, sample) for name, samples in ALSO.items() for sample in samples]


def carried(name: str, sample: str, line: bytes) -> bytes:
    """A server's line, carried as the sample shows; Docker writes some characters in their JSON escapes."""
    text = line.decode("utf-8", "replace")
    if name in AS_JSON:
        text = json.dumps(text)[1:-1].replace("<", "\\u003c").replace("&", "\\u0026")
    return sample.replace("LINE", text).encode()


@pytest.mark.parametrize(("name", "sample"), WRAPPINGS)
def test_a_carried_line_is_found_and_read_as_if_it_stood_alone(name: str, sample: str) -> None:
    line = carried(name, sample, LINE)

    found = detect(line * 0 + line + b"\n", "access.log").log_format

    assert (found.name, found.envelopes) == ("nginx", (name,))
    alone = entry(NGINX.log_format, LINE)
    assert entry(found, line) == alone._replace(line=line)


@pytest.mark.parametrize(("name", "sample"), WRAPPINGS)
def test_every_line_keeps_its_place(name: str, sample: str) -> None:
    hostile = LINE.replace(b"/orders/7", b"/<a>&\\x22\\\\/")
    lines = [carried(name, sample, LINE), b"", b"foreign {", LINE, carried(name, sample, hostile), b"\xff"]
    data = b"\n".join(lines) + b"\n"

    found = entries(replace(NGINX.log_format, envelopes=(name,)), data)

    assert [each.line for each in found] == lines
    assert [data[each.offset :].startswith(each.line) for each in found] == [True] * len(lines)
    assert [each.rejected for each in found] == ["", "empty", "no match", "", "", "no match"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("cri", b"2026-11-22T13:25:15.042137000Z stdout P 192.0.2.7 - - ["),
        ("docker", b'{"log":"192.0.2.7 - - [","stream":"stdout","time":"2026-11-22T13:25:15.042137000Z"}'),
    ],
)
def test_a_part_of_a_line_is_rejected_as_such(name: str, part: bytes) -> None:
    assert entry(replace(NGINX.log_format, envelopes=(name,)), part).rejected == "part of a line"


def test_json_within_cri_and_docker_within_syslog() -> None:
    inner = b'{"request_method":"GET","request_uri":"/a","status":200,"request_time":0.042}'
    lines = (b"2026-11-22T13:25:15.042137000Z stdout F " + inner + b"\n") * 3
    found = detect(lines, "access.log").log_format
    assert (found.name, found.envelopes) == ("json", ("cri",))
    assert entry(found, lines.split(b"\n")[0]).target == b"/a"

    twice = b"Nov 22 13:25:15 web1 dockerd[1]: " + carried("docker", ENVELOPES["docker"].sample, LINE)
    assert detect(twice + b"\n", "access.log").log_format.envelopes == ("syslog", "docker")


def test_half_a_surrogate_pair_in_one_line_leaves_the_others_as_they_are() -> None:
    raw = carried("docker", ENVELOPES["docker"].sample, LINE.replace(b"curl", b"MARK")).replace(
        b"MARK", b"\xff"
    )

    block = raw + b"\n" + raw.replace(b"\xff", b"\\ud800") + b"\n"

    first, second, _ = unwrap(block, ("docker",)).split(b"\n")
    assert first == LINE.replace(b"curl", b"\xff")
    assert second == LINE.replace(b"curl", b"?")


def test_werkzeug_colours_what_did_not_go_well() -> None:
    plain = FORMATS["werkzeug"].sample.encode()
    red = plain.replace(b'"GET', b'"\x1b[33mGET').replace(b'1.1"', b'1.1\x1b[0m"').replace(b"200", b"404")

    found = detect(plain + b"\nINFO:werkzeug:" + red + b"\n", "dev.log").log_format

    assert (found.name, found.envelopes) == ("werkzeug", ("terminal",))
    assert entry(found, red).status == 404
    assert entry(choose("werkzeug"), red).status == 404
    assert choose("docker:werkzeug").envelopes == ("docker", "terminal")


def test_a_carrier_may_be_named_or_is_found_for_a_format_that_was_given() -> None:
    line = carried("docker", ENVELOPES["docker"].sample, LINE) + b"\n"

    assert choose("docker:nginx").envelopes == ("docker",)
    assert detect(line, "a.log", given="docker:nginx").fitting == 1
    assert detect(line, "a.log", given="nginx").log_format == choose("docker:nginx")
    assert detect(line, "a.log", given=NGINX.log_format.layout).fitting == 1


@pytest.mark.parametrize("name", ENVELOPES)
def test_taking_off_keeps_the_number_of_lines(name: str) -> None:
    block = b'{"log":"a\\nb\\n"}\n\n{"message":"a\\nb"}\n\r\n' + ENVELOPES[name].sample.encode() + b"\n"

    assert unwrap(block, (name,)).count(b"\n") == block.count(b"\n")
