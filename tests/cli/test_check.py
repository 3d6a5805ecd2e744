"""`logstatsd check`: what a log is taken for, and for the likeliest mistakes one line with the fix."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from command import invoke
from places import SAMPLE_LOGS, SHOP

from logstatsd.formats.presets import FORMATS, GUNICORN_DEFAULT, NGINX_COMBINED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

NGINX = FORMATS["nginx"].sample


def check(*arguments: object, columns: int = 80, code: int = 0) -> Result:
    return invoke("check", *arguments, columns=columns, code=code)


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str | bytes) -> Path:
        path = tmp_path / "access.log"
        path.write_bytes(b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in lines))
        return path

    return write


def test_a_log_is_told_line_by_line_with_its_rules_and_metrics() -> None:
    result = check(SAMPLE_LOGS / "nginx.log", "--app", SHOP)

    for told in (
        "  format    nginx: fits 1,000 of the first 1,000 lines\n",
        "  duration  $request_time (seconds, to the millisecond)\n",
        "  time      $time_local, offset UTC\n",
        "  lines     3,000 looked at, none rejected\n",
        "  request   $request          GET /api/products/under/9.99 HTTP/1.1\n",
        "  duration  $request_time     0.100\n",
        "  rule      /api/products/under/<float:price>\n",
        "  metric    shop.api.request http_method:GET http_status_code:504\n",
    ):
        assert told in result.stdout


@pytest.mark.parametrize("name", ["nginx.log", "nginx.json.log", "gunicorn.log", "gunicorn_default.log"])
@pytest.mark.parametrize("columns", [50, 60, 80, 120])
def test_nothing_is_wider_than_the_terminal_but_what_is_to_be_copied(name: str, columns: int) -> None:
    """… or has no space at which it could be wrapped."""
    lines = check(SAMPLE_LOGS / name, columns=columns).stdout.splitlines()

    wide = [line[12:] for line in lines if len(line) > columns and "access_log_format" not in line]
    assert [line for line in wide if " " in line] == []


def test_no_app_is_needed(log: Callable[..., Path]) -> None:
    result = check(log(NGINX))

    assert "read as   GET /orders/7?page=2, 200, 42.000 ms, 2026-11-22T13:25:15+00:00" in result.stdout
    assert "metric" not in result.stdout
    assert "With --app, the rule and the metric" in result.stderr


def test_rejected_lines_are_counted_and_pointed_at(log: Callable[..., Path]) -> None:
    result = check(
        log(*[NGINX] * 9, NGINX.replace("200", "2x0"), "", NGINX.replace(" 200", " ??"), "foo"), columns=200
    )

    assert "lines     13 looked at, 4 rejected" in result.stdout
    assert "2: no $status where one should be; first in column 76 of the line at" in result.stdout
    pointed = result.stdout.splitlines()
    at = next(n for n, line in enumerate(pointed) if line.strip() == "^")
    assert pointed[at - 1][pointed[at].index("^") :].startswith("2x0 512")
    assert "1: empty" in result.stdout


def test_a_choice_of_durations_is_told(log: Callable[..., Path]) -> None:
    path = log(FORMATS["nginx-upstream"].sample)

    assert "(or, with --time-field, $upstream_response_time)" in check(path).stdout
    chosen = check(path, "--time-field", "upstream_response_time").stdout
    assert "duration  $upstream_response_time (seconds of each upstream, added)" in chosen


def test_a_carrier_is_told(log: Callable[..., Path]) -> None:
    result = check(log(f"2026-11-22T13:25:15.042137000Z stdout F {NGINX}"))

    assert "carried by" in result.stdout
    assert "$status           200" in result.stdout


def test_a_configuration_is_told(log: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(f"access_log_format = {GUNICORN_DEFAULT + ' %(M)s'!r}")

    result = check(log(FORMATS["gunicorn-ms"].sample), "--log-format", f"@{tmp_path / 'gunicorn.conf.py'}")

    assert "format    gunicorn.conf.py: from the access_log_format of" in result.stdout
    assert "duration  %(M)s (milliseconds)" in result.stdout


# --- durations that are missing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "where", "what"),
    [
        (
            rb'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET / HTTP/1.1" 200 5 "-" "\xC3"',
            "nginx.conf",
            f"log_format timed '{NGINX_COMBINED} $request_time'; access_log /var/log/nginx/access.log timed;",
        ),
        (
            b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET / HTTP/1.1" 200 5 "-" "\xc3\xbc"',
            "gunicorn.conf.py",
            f"access_log_format = '{GUNICORN_DEFAULT} %(D)s'",
        ),
        (b'{"method":"GET","uri":"/","status":200}', "", '"request_time":"$request_time" or "duration_us"'),
    ],
)
def test_the_line_to_put_into_the_configuration(
    log: Callable[..., Path], line: bytes, where: str, what: str
) -> None:
    result = check(log(line), columns=200)

    assert "duration  none in this format: requests and errors are counted, but not timed" in result.stdout
    assert where in result.stdout
    assert what in result.stdout


# --- the likeliest mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "access.log: empty; is this the file that the server writes to by now?"),
        (
            ["2026/11/22 13:25:15 [error] 7#7: *1 open() failed", "2026/11/22 13:25:15 [notice] 7#7: ready"],
            "this is nginx's error log; its access log is what is needed: see `access_log` in nginx.conf",
        ),
        (
            ["[2026-11-22 13:25:15 +0000] [7] [INFO] Booting worker with pid: 7"],
            "this is gunicorn's error log; its access log is what is needed: run gunicorn with --acc",
        ),
        (["Traceback (most recent call last):", '  File "x.py"'], "this is what an app wrote to stderr"),
        ([b"\x00\x01\x02\x00"], "this is no text"),
        (["key=value another=one"], "give the server's own format string by --log-format"),
        (['{"a": 1}'], "the JSON lines have no key known for the status and the method and the target"),
    ],
)
def test_a_mistake_gives_one_line_with_the_fix(
    log: Callable[..., Path], lines: list[str | bytes], message: str
) -> None:
    result = check(log(*lines), code=1)

    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_wrong_format_is_told_with_the_column(log: Callable[..., Path]) -> None:
    result = check(log(NGINX), "--log-format", "common", code=1)

    assert (
        "no line fits the format 'common'; the first stops at column 83, where it wants the end"
        in result.stderr
    )


def test_one_bad_log_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("nonsense\n")
    (tmp_path / "b.log.gz").write_bytes(gzip.compress(NGINX.encode() + b"\n"))

    result = check(tmp_path / "a.log", tmp_path / "b.log.gz", code=1)

    assert "a.log: no line fits a known format" in result.stderr
    assert "b.log.gz\n  format    nginx: fits 1 of the first 1 lines" in result.stdout


def test_what_the_log_holds_cannot_take_over_the_terminal(log: Callable[..., Path]) -> None:
    result = check(log(NGINX, NGINX.replace("curl", "\x1b]0;owned\x07\u202e"), "\x1b[2J"), columns=200)

    assert not {"\x1b", "\x07", "\u202e"} & set(result.output)


def test_the_known_formats_are_listed_with_their_samples() -> None:
    output = check("--formats").output

    for name, preset in FORMATS.items():
        assert f"{name}\n  {preset.log_format.layout}\n  {preset.sample}\n" in output
