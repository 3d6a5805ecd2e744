"""`--log-format @nginx.conf` and `@gunicorn.conf.py`: the format that the servers themselves are told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from reading import choose, entry

from logstatsd.errors import FormatError, InputError
from logstatsd.formats.config_files import formats_of
from logstatsd.formats.detect import detect
from logstatsd.formats.presets import FORMATS, GUNICORN_DEFAULT

if TYPE_CHECKING:
    from pathlib import Path

NGINX_CONF = r"""
events {}
http {
    include formats/*.conf;
    server {
        listen 80;
        access_log /var/log/nginx/shop.log timed buffer=32k;
        location /api { access_log /var/log/nginx/api.log json; access_log off; }
        include servers/more.conf;
    }
}
"""
FORMATS_CONF = r"""
log_format timed '$remote_addr - $remote_user [$time_local] '
                 '"$request" $status $body_bytes_sent $request_time';  # a comment
log_format json escape=json
    '{"method":"$request_method",'
    '"uri":"$request_uri","status":$status,'
    "\"took\":$request_time}";
log_format tabs "$msec\t$request_method\t$request_uri\t$status\t${request_time}s";
log_format unusable '$remote_addr';
"""


@pytest.fixture
def nginx_conf(tmp_path: Path) -> Path:
    (tmp_path / "formats").mkdir()
    (tmp_path / "servers").mkdir()
    (tmp_path / "nginx.conf").write_text(NGINX_CONF)
    (tmp_path / "formats" / "a.conf").write_text(FORMATS_CONF)
    (tmp_path / "servers" / "more.conf").write_text("access_log /var/log/nginx/x.log timed;")
    return tmp_path / "nginx.conf"


TIMED_LINE = b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /a HTTP/1.1" 200 512 0.042'
JSON_LINE = rb'{"method":"GET","uri":"/\"","status":200,"took":0.042}'


@pytest.mark.parametrize(
    ("name", "line", "target"),
    [
        ("timed", TIMED_LINE, b"/a"),
        ("json", JSON_LINE, b'/"'),
        ("tabs", b"1795353915.042\tGET\t/a\t200\t0.042s", b"/a"),
    ],
)
def test_a_format_is_taken_by_name_from_what_is_included(
    nginx_conf: Path, name: str, line: bytes, target: bytes
) -> None:
    found = entry(choose(f"@{nginx_conf}:{name}"), line)

    assert (found.rejected, found.target, found.duration_us) == ("", target, 42_000)


@pytest.mark.parametrize(("line", "name"), [(TIMED_LINE, "timed"), (JSON_LINE, "json")])
def test_of_the_formats_that_access_log_uses_the_one_that_fits_is_taken(
    nginx_conf: Path, line: bytes, name: str
) -> None:
    found = detect(line + b"\n", "access.log", given=f"@{nginx_conf}")

    assert (found.log_format.name, found.fitting) == (name, 1)
    assert "the best fitting of timed, json" in found.note


def test_a_line_that_docker_carries_is_in_the_configured_format_too(nginx_conf: Path) -> None:
    line = b'{"log":"%s\\n","stream":"stdout","time":"2026-11-22T13:25:15Z"}' % TIMED_LINE.replace(
        b'"', b'\\"'
    )

    assert detect(line + b"\n", "x.log", given=f"@{nginx_conf}").log_format.envelopes == ("docker",)


def test_access_log_without_a_format_is_combined(tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text("http { access_log /var/log/nginx/access.log; }")

    assert choose(f"@{conf}") == FORMATS["combined"].log_format


def test_a_file_that_is_only_included_gives_its_formats(tmp_path: Path, nginx_conf: Path) -> None:
    found, _ = formats_of(str(tmp_path / "formats" / "a.conf"))

    assert [each.name for each in found] == ["timed", "json", "tabs"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("nowhere.conf", InputError, "there is no such file"),
        (
            "nginx.conf:nosuch",
            FormatError,
            "there is no log_format nosuch; it has: combined, timed, json, tabs",
        ),
        ("nginx.conf:unusable", FormatError, "no status and no method and no target"),
    ],
)
def test_what_is_not_there_is_said(
    nginx_conf: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(nginx_conf.parent)

    with pytest.raises(error, match=message):
        choose(f"@{text}")


def test_a_configuration_that_is_broken_is_said(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text("http { log_format x '$status ")

    with pytest.raises(InputError, match=r"nginx\.conf: "):
        choose(f"@{tmp_path / 'nginx.conf'}")


def test_without_crossplane_the_extra_is_named(nginx_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crossplane", None)

    with pytest.raises(FormatError, match=r"pip install 'logstatsd\[nginx\]'"):
        choose(f"@{nginx_conf}")


# --- gunicorn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "layout", "note"),
    [
        (
            "access_log_format = '%(m)s %(U)s %(s)s %(D)s'",
            "%(m)s %(U)s %(s)s %(D)s",
            "from the access_log_format",
        ),
        ("access_log_format: str = ('%(r)s ' '%(s)s')", "%(r)s %(s)s", "from the access_log_format"),
        ("access_log_format = '%(r)s ' + '%(s)s'\nworkers = 3", "%(r)s %(s)s", "from the access_log_format"),
        ("import os\nworkers = os.cpu_count()", GUNICORN_DEFAULT, "sets no access_log_format"),
        ("F = '%(r)s %(s)s'\naccess_log_format = F", "%(r)s %(s)s", "as gunicorn itself loads it"),
        ("if True:\n    access_log_format = '%(r)s %(s)s'", "%(r)s %(s)s", "as gunicorn itself loads it"),
    ],
)
def test_the_access_log_format_of_gunicorns_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, layout: str, note: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["logstatsd", "--whatever"])
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text(source)

    (found,), said = formats_of(str(conf))

    assert found.layout == layout
    assert note in said


def test_a_plain_string_is_read_without_running_the_file(tmp_path: Path) -> None:
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text("access_log_format = '%(r)s %(s)s'\nraise SystemExit('ran')")

    assert choose(f"@{conf}").layout == "%(r)s %(s)s"


@pytest.mark.parametrize("source", ["access_log_format = (", "access_log_format = f'{nowhere}'"])
def test_a_gunicorn_configuration_that_is_broken_is_said(tmp_path: Path, source: str) -> None:
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text(source)

    with pytest.raises(InputError, match=r"gunicorn\.conf\.py: "):
        choose(f"@{conf}")


def test_without_gunicorn_a_computed_format_must_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn.app.base", None)
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text("F = '%(r)s %(s)s'\naccess_log_format = F")

    with pytest.raises(FormatError, match="give the string itself"):
        choose(f"@{conf}")
