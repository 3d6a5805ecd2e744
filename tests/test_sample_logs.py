"""The sample logs hold what their README promises, and their traffic can be sent again as it was."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from places import SAMPLE_LOGS
from traffic import ODDITIES, traffic

LINES = {"nginx.log": 3000, "nginx.json.log": 1800, "gunicorn.log": 2900, "gunicorn_default.log": 2900}


def lines_of(name: str) -> list[bytes]:
    """A sample log's lines, as bytes: some are no UTF-8."""
    return (SAMPLE_LOGS / name).read_bytes().splitlines()


@pytest.mark.parametrize("name", LINES)
def test_a_log_has_a_few_thousand_lines_and_stays_small(name: str) -> None:
    assert len(lines_of(name)) >= LINES[name]
    assert (SAMPLE_LOGS / name).stat().st_size < 700_000


@pytest.mark.parametrize("name", ["nginx.log", "gunicorn.log", "gunicorn_default.log"])
def test_a_log_has_every_kind_of_answer(name: str) -> None:
    statuses = Counter(re.findall(rb'" (\d{3}) \d+ "', (SAMPLE_LOGS / name).read_bytes()))

    assert {b"200", b"201", b"204", b"308", b"400", b"401", b"404", b"405", b"410", b"500"} <= statuses.keys()


def test_nginx_also_logs_who_hung_up_and_whom_it_kept_waiting() -> None:
    log = (SAMPLE_LOGS / "nginx.log").read_bytes()

    for status in (b"414", b"499", b"504", b"505"):
        assert b'" ' + status + b" " in log


@pytest.mark.parametrize(
    "broken",
    [
        rb'"\x16\x03\x01\x00\xCA',  # a TLS handshake
        rb'"SSH-2.0-OpenSSH_9.6"',
        rb'"GET /health" 200',  # HTTP/0.9
        rb"GET /api/users/j\xC3\xBCrgen",
        rb"\x22><script>",
        rb"- ann smith [",
        b"/phpmyadmin/",
        b"/wp-login.php",
        b"/.env",
    ],
)
def test_nginx_has_logged_the_oddities(broken: bytes) -> None:
    assert broken in (SAMPLE_LOGS / "nginx.log").read_bytes()


def test_gunicorn_marks_what_it_refused_after_a_good_request_line() -> None:
    assert re.search(
        rb'"GET /health HTTP/1.1" 400 0 "-" "-" \d+$', b"\n".join(lines_of("gunicorn.log")), re.MULTILINE
    )


def test_json_lines_are_objects_and_some_are_no_utf8() -> None:
    lines = lines_of("nginx.json.log")

    entries = [json.loads(line.decode(errors="surrogateescape")) for line in lines]
    assert {"request_method", "request_uri", "status", "request_time", "upstream_addr"} <= entries[0].keys()
    assert any(not entry["upstream_addr"] for entry in entries)
    assert any(b"\xfc" in line or b"\xff" in line for line in lines)


def test_the_same_seed_is_the_same_traffic_with_every_oddity() -> None:
    requests = traffic(seed=1, count=500)

    assert requests == traffic(seed=1, count=500)
    assert requests != traffic(seed=2, count=500)
    assert len(requests) == 500
    sent = {request.wire() for request in requests}
    assert all(oddity.wire() in sent for oddity in ODDITIES)
