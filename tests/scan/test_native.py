"""The compiled scanner counts what the Python scanner counts, samples included; or Python does it for it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import sample
import twins
from fuzz_formats import LAYOUTS
from places import SAMPLE_LOGS

from logstatsd.errors import OptionError
from logstatsd.formats.detect import detect
from logstatsd.formats.logformat import parse_layout
from logstatsd.formats.presets import FORMATS
from logstatsd.model.distribution import DISTINCT
from logstatsd.report.summary import Summary
from logstatsd.routing.router import Router
from logstatsd.scan import native, scanners
from logstatsd.scan.logs import open_logs
from logstatsd.scan.native import NativeScanner
from logstatsd.scan.run import Run
from logstatsd.scan.scanner import Scanner
from logstatsd.scan.settle import Settler
from logstatsd.sources.lines import LINE_LIMIT
from logstatsd.sources.source import Chunk

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("LOGSTATSD_SCANNER_SEED", "1"))
MAPS = int(os.environ.get("LOGSTATSD_SCANNER_MAPS", "60"))
NGINX = FORMATS["nginx"].log_format
LINE = b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET %b HTTP/1.1" 200 2 "-" "-" %b\n'

compiled = pytest.mark.skipif(bool(native.WHY_NOT), reason="the compiled scanner is not installed")


def line(target: bytes = b"/health", took: bytes = b"0.001") -> bytes:
    return LINE % (target, took)


# --- both are the same ------------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("log", ["nginx.log", "gunicorn.log", "gunicorn_default.log", "nginx.json.log"])
def test_recorded_logs(log: str) -> None:
    data = (SAMPLE_LOGS / log).read_bytes()
    log_format = detect(data, log).log_format
    batch = twins.compare(log_format, sample.router(), data)
    assert batch.counts.parsed > 1_000
    assert NativeScanner(log_format, sample.router()).share(data) < 0.005


@compiled
@pytest.mark.parametrize("log_format", LAYOUTS, ids=lambda log_format: log_format.name)
def test_mutated_logs_of_every_format(log_format: Any) -> None:
    chance = random.Random(f"{SEED}{log_format}")
    for _ in range(6):
        data = twins.log_of(log_format, chance)
        twins.compare(log_format, sample.router(), data, **twins.options_of(log_format, chance))


@compiled
def test_requests_of_random_maps() -> None:
    """With hosts, subdomains, websockets, converters of every kind, prefixes."""
    for seed in range(SEED, SEED + MAPS):
        twins.try_map(seed)


@compiled
@pytest.mark.parametrize("name", list(FORMATS))
def test_every_named_format_takes_the_compiled_path(name: str) -> None:
    preset = FORMATS[name]
    scanner = NativeScanner(preset.log_format, sample.router())
    assert scanner.share(preset.sample.encode() + b"\n") == 0
    batch = twins.compare(preset.log_format, sample.router(), preset.sample.encode())
    assert batch.counts.parsed == 1


@compiled
@pytest.mark.parametrize("length", [LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, 300_000, 1_000_000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n" + line()])
def test_long_lines(length: int, end: bytes) -> None:
    beginning = line() + line(b"/x")[:-1]
    data = beginning + b"y" * (length - len(line(b"/x"))) + end
    assert twins.compare(NGINX, sample.router(), data).counts.lines >= 2


@compiled
def test_the_samples_are_the_first_rejected_lines_however_the_log_is_cut() -> None:
    data = line(took=b"0.042") + line(took=b"x") + b"garbage\n" + line(b"/x") + line(took=b"42") * 3
    batch = twins.compare(NGINX, sample.router(), data)
    assert batch.counts.samples == [
        ("bad duration", line(took=b"x")[:-1]),
        ("no match", b"garbage"),
        ("bad duration", line(took=b"42")[:-1]),
        ("bad duration", line(took=b"42")[:-1]),
        ("bad duration", line(took=b"42")[:-1]),
    ]


@compiled
@pytest.mark.parametrize(
    "layout",
    [
        '"$request" $status $request_time $upstream_http_x_logstatsd_cpu_us',
        '%(r)s %(s)s "%({x-cpu}i)s" %({logstatsd.cpu_us}e)s %(D)s',
        "$request_method|$uri|$status|$request_time|$upstream_addr|$time_iso8601",
        "$msec $http_host $request_method $request_uri $status $upstream_response_time",
    ],
)
def test_cpu_time_paths_and_upstreams(layout: str) -> None:
    log_format, chance = parse_layout(layout), random.Random(SEED)
    for _ in range(10):
        data = twins.log_of(log_format, chance, 100)
        twins.compare(log_format, sample.router(), data, **twins.options_of(log_format, chance))


@compiled
@pytest.mark.parametrize("host", ["shop.example", "-", "a_b", "xn--a", "SHOP.example:80"])
def test_mounts_and_hosts(host: str) -> None:
    snapshot = json.loads(json.dumps(sample.router().snapshot))
    (mount,) = snapshot["mounts"]
    bound = {**mount, "prefix": "/sub", "binding": {"to": "subdomain", "name": "shop.example"}}
    router = Router({**snapshot, "mounts": [mount, bound, {**mount, "prefix": "/none", "rules": None}]})
    targets = (
        b"/health",
        b"/sub/health",
        b"/sub",
        b"/subs/health",
        b"/none/x",
        b"/sub//health",
        b"/%73ub/health",
    )
    lines = (
        b'"GET %b HTTP/1.1" 200 0.001 "%b" [22/Nov/2026:13:25:15 +0000]\n' % (target, host.encode())
        for target in targets
    )
    twins.compare(twins.HOSTED, router, b"".join(lines))


# --- chunks, threads, memory ------------------------------------------------------------------------------


def report(paths: list[str], router: Router, **options: Any) -> tuple[object, ...]:
    summary = Summary(("rule", "method", "status"))
    for piece in Run(open_logs(paths), router, **options).pieces():
        summary.add(Settler(sample.loaded()).settle(piece.batch))
    groups = {
        key: (group.requests, group.wall.count, group.wall.total_us, group.wall.min_us, group.wall.max_us,
              group.wall.exact, group.wall.quantiles([n / 100 for n in range(101)]))
        for key, group in summary.groups.items()
    }  # fmt: skip
    return summary.counts, summary.period, groups


@compiled
@pytest.mark.parametrize("engine", ["serial", "threads", "processes"])
def test_a_report_is_the_same_with_every_scanner_and_engine(engine: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    log = tmp_path / "access.log"
    with log.open("wb") as out:
        for number in range(40_000):
            took = b"%d.%03d" % divmod(int(chance.expovariate(1 / 3_000)), 1_000)
            out.write(line(chance.choice((b"/health", b"/api/products/%d" % number, b"/nowhere")), took))
            if number % 1_000 == 0:
                out.write(b"garbage %d\n" % number)
    expected = report([str(log)], sample.router(), scanner="python", jobs=1)
    found = report([str(log)], sample.router(), scanner="native", engine=engine, jobs=2)
    assert found == expected
    assert any(not exact for *_, exact, _ in expected[2].values()), "none is beyond what is kept exactly"  # type: ignore[attr-defined]


@compiled
def test_a_distribution_is_bounded_where_it_is_in_python() -> None:
    for distinct in (DISTINCT, DISTINCT + 1):
        data = b"".join(line(took=b"%d.%03d" % divmod(number, 1_000)) for number in range(distinct))
        scanner = NativeScanner(NGINX, sample.router(), bounded=True)
        summary, other = Summary(), Summary()
        summary.add(scanner.scan(data))
        other.add(Scanner(NGINX, sample.router()).scan(data))
        (mine,), (theirs,) = summary.groups.values(), other.groups.values()
        for name in mine.wall.__slots__:
            assert getattr(mine.wall, name) == getattr(theirs.wall, name), name
        assert mine.wall.exact is (distinct == DISTINCT)


@compiled
def test_what_only_the_app_can_tell_is_handed_over_before_it_is_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "REMEMBERED", 50)
    settler, total = Settler(sample.loaded()), Summary()
    scanner = NativeScanner(NGINX, sample.router())
    rule = next(info for info in sample.router().rules if "coupons" in info.rule)
    prefix = rule.rule.partition("<")[0].encode()
    for part in range(10):
        data = b"".join(line(prefix + b"%d-%d" % (part, number)) for number in range(100))
        batch = scanner.count(Chunk("log", 0, len(data), data))
        assert batch.pending or batch.timings
        total.add(settler.settle(batch))
    for batch in scanner.held():
        total.add(settler.settle(batch))
    assert sum(group.requests for group in total.groups.values()) == 1_000


@compiled
def test_a_log_may_be_renamed_while_it_is_read(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line() * 10)
    chunk = Chunk(str(log), 0, 10 * len(line()), None, log.stat().st_ino)
    log.rename(tmp_path / "access.log.1")
    log.write_bytes(line(b"/new"))
    scanner = NativeScanner(NGINX, sample.router())
    assert scanner.count(chunk).counts.lines == 10


# --- which one runs ---------------------------------------------------------------------------------------


def test_the_python_scanner_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scanners.VARIABLE, "python")
    assert scanners.choose_scanner() == ("python", "chosen by LOGSTATSD_SCANNER")
    assert isinstance(scanners.make_scanner(NGINX, sample.router()), Scanner)
    assert scanners.choose_scanner("python").why == "chosen by --scanner"


@compiled
def test_the_compiled_scanner_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scanners.VARIABLE, raising=False)
    assert scanners.describe() == "native (compiled, in threads)"
    assert isinstance(scanners.make_scanner(NGINX, sample.router()), NativeScanner)


def test_without_the_compiled_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scanners.VARIABLE, raising=False)
    monkeypatch.setattr(native, "WHY_NOT", "No module named 'logstatsd._native'")
    assert scanners.describe() == "python (the compiled scanner is not installed)"
    assert isinstance(scanners.make_scanner(NGINX, sample.router()), Scanner)
    with pytest.raises(OptionError, match="--scanner: the compiled scanner is not installed"):
        scanners.choose_scanner("native")
    with pytest.raises(OptionError, match="must be one of auto, native, python"):
        scanners.choose_scanner("fast")


@compiled
def test_an_app_behind_a_normalised_prefix_is_left_to_python() -> None:
    router = Router(sample.router().snapshot, strip_prefix="/app", normalised_prefix=True)
    assert isinstance(scanners.make_scanner(NGINX, router, bounded=True), Scanner)


@compiled
@pytest.mark.parametrize(
    ("lines", "expected"), [(line() * 100, "native"), (b"garbage\n" * 100 + line(), "python")]
)
def test_worker_processes_do_what_is_mostly_left_to_python(
    lines: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(scanners.VARIABLE, raising=False)
    log = tmp_path / "access.log"
    log.write_bytes(lines)
    run = Run(open_logs([str(log)], log_format="nginx"), sample.router(), jobs=2)
    assert run.scan().scanner == expected


@compiled
def test_the_interpreter_goes_on_while_the_compiled_scanner_works(tmp_path: Path) -> None:
    """A thread that scans holds no lock: this one counts on."""
    script = (
        "import sys, threading\n"
        "sys.setswitchinterval(1000)\n"  # a thread that held the lock would keep it
        "import sample\n"
        "from logstatsd.formats.presets import FORMATS\n"
        "from logstatsd.scan.native import NativeScanner\n"
        "scanner = NativeScanner(FORMATS['nginx'].log_format, sample.router())\n"
        f"data = {line()!r} * 300_000\n"
        "thread = threading.Thread(target=scanner.scan, args=(data,))\n"
        "thread.start()\n"
        "ticks = 0\n"
        "while thread.is_alive():\n"
        "    ticks += 1\n"
        "    thread.join(0.001)\n"
        "print(ticks)\n"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        check=True,
    )
    assert int(done.stdout) > 5
