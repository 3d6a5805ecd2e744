"""LTSV: found by its labels, read as text, and other labels of later lines are another format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from command import invoke
from reading import entries

from logstatsd.errors import FormatError
from logstatsd.formats.detect import detect

if TYPE_CHECKING:
    from pathlib import Path

TIME = "[28/Feb/2013:12:00:00 +0900]"
LTSV_ORG = (
    f"time:{TIME}\thost:203.0.113.8\treq:GET /list HTTP/1.1\tstatus:200\tsize:5316\treferer:-"
    "\tua:Mozilla/5.0 (X11)\treqtime_microsec:14217\tcache:-\truntime:0.014\tvhost:shop.example"
)
ALP = (
    "time:2015-09-06T05:58:05+09:00\tmethod:POST\turi:/foo/bar?token=xxx&uuid=1234\tstatus:200\tsize:12"
    "\tapptime:0.057\treqtime:0.058"
)
BY_HAND = "x-id:7\tverb:GET\turl:/a:b c\tcode:404\trt:58"


@pytest.mark.parametrize(
    ("line", "method", "target", "status", "duration_us"),
    [
        (LTSV_ORG, "GET", b"/list", 200, 14_217),
        (ALP, "POST", b"/foo/bar?token=xxx&uuid=1234", 200, 58_000),
        (ALP.replace("reqtime:", "other:"), "POST", b"/foo/bar?token=xxx&uuid=1234", 200, 57_000),
        (LTSV_ORG.replace(" HTTP/1.1", ""), "GET", b"/list", 200, 14_217),
        (LTSV_ORG.replace("14217", "-"), "GET", b"/list", 200, None),
        (f"{LTSV_ORG}\r", "GET", b"/list", 200, 14_217),
    ],
)
def test_lines_are_read_by_their_labels(
    line: str, method: str, target: bytes, status: int, duration_us: int | None
) -> None:
    found = detect(f"{line}\n".encode() * 3, "access.log")
    assert (found.log_format.name, found.fitting) == ("ltsv", 3)
    [entry] = entries(found.log_format, f"{line}\n".encode())
    assert (entry.method, entry.target, entry.status) == (method, target, status)
    assert entry.duration_us == duration_us
    assert found.log_format.chosen["time"].name == "time"


def test_the_host_is_the_virtual_one() -> None:
    assert detect(f"{LTSV_ORG}\n".encode(), "").log_format.chosen["host"].name == "vhost"


def test_other_labels_are_named_by_field(tmp_path: Path, routes: tuple[str, str]) -> None:
    log = tmp_path / "access.log"
    log.write_text(f"{BY_HAND}\n" * 3)
    named = [f"--field={each}" for each in ("method=verb", "target=url", "status=code", "duration=rt:ms")]
    [line, *_] = invoke("normalize", log, *named, "--target", *routes).stdout.splitlines()
    found = json.loads(line)
    assert (found["method"], found["target"], found["status"]) == ("GET", "/a:b c", 404)
    assert found["duration_us"] == 58_000
    with pytest.raises(FormatError, match=r"they have x-id, verb, url, code, rt; name them"):
        detect(log.read_bytes(), "access.log")


def test_other_labels_of_later_lines_are_a_change_of_format(tmp_path: Path, routes: tuple[str, str]) -> None:
    first, second = ALP.split("\t"), ALP.replace("apptime:0.057\t", "").split("\t")
    kinds = [first, second, [*first[1:], first[0]], [*first, "new:label"]]
    log = tmp_path / "access.log"
    log.write_text("".join("\t".join(kind) + "\n" for kind in kinds for _ in range(50)))
    done = invoke("report", log, "--json", *routes)
    found = json.loads(done.stdout)
    assert (found["lines"], found["rejected"]) == (200, 0)
    assert sum(row["timed"] for row in found["rows"]) == 200
    assert done.stderr.count("ltsv → ltsv (other columns)") == 3


def test_check_shows_every_label(tmp_path: Path, routes: tuple[str, str]) -> None:
    (tmp_path / "access.log").write_text(f"{LTSV_ORG}\n" * 3)
    shown = invoke("check", tmp_path / "access.log", *routes, columns=160).stdout
    assert "ltsv: fits 3 of the first 3 lines" in shown
    assert "duration  reqtime_microsec (microseconds" in shown
    assert "cache" in shown


def test_lines_with_tabs_and_colons_are_not_ltsv() -> None:
    with pytest.raises(FormatError, match="no line fits a known format"):
        detect(b"12:30:01\tworker:3 started\nbare\tline\nx\ty\n", "access.log")


@pytest.mark.parametrize("value", ["abc", "20", ""])
def test_a_status_is_three_digits_whatever_it_is_taken_from(
    value: str, tmp_path: Path, routes: tuple[str, str]
) -> None:
    log = tmp_path / "access.log"
    log.write_text(f'"GET /health HTTP/1.1" 200\n"GET /health HTTP/1.1" {value}\n')
    layout = ("--log-format", '"$request" $code', "--field", "status=code")
    found = invoke("report", log, *layout, "--json", *routes, code=None)
    assert found.exit_code in (0, 1)
