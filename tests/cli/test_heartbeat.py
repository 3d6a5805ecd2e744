"""What a run that goes on tells: a line a minute, new rejections within seconds, systemd, and metrics."""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from logstatsd.cli.heartbeat import EVERY_S, REJECTIONS_AFTER_S, Heartbeat, Pulse
from logstatsd.cli.outcome import NOTHING
from logstatsd.delivery.self_metrics import SelfMetrics
from logstatsd.model.line_counts import LineCounts

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pulse(lines: int, rejected: int = 0, lag_s: float | None = None) -> Pulse:
    samples = [("no match", b"garbage\x1b[2J")] if rejected else []
    counts = LineCounts(lines, rejected=Counter({"no match": rejected} if rejected else {}), samples=samples)
    return Pulse(counts, NOTHING._replace(due=lines - rejected, sent=lines - rejected), lag_s)


def test_a_line_is_told_once_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat = Heartbeat(now=clock)
    for _ in range(5):
        clock.now_s += EVERY_S / 4
        heartbeat.beat(pulse(1_803, lag_s=0.31))
    assert capsys.readouterr().err == "1,803 lines, 0 rejected, 1,803 sent, 0.3 s behind\n"


def test_it_is_silent_when_quiet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat = Heartbeat(quiet=True, now=clock)
    clock.now_s += 2 * EVERY_S
    heartbeat.beat(pulse(10))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("quiet", [False, True])
def test_rejections_are_told_within_seconds_and_then_once_a_minute(
    quiet: bool, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    heartbeat = Heartbeat(quiet=quiet, now=clock)
    heartbeat.beat(pulse(10))
    heartbeat.beat(pulse(15, rejected=5))
    assert capsys.readouterr().err == "", "they may come in one burst"
    clock.now_s += REJECTIONS_AFTER_S
    heartbeat.beat(pulse(30, rejected=20))
    said = capsys.readouterr().err.splitlines()
    assert said == ["20 of the last 20 lines rejected (no match 20 so far)", "  no match: garbage\\x1b[2J"]
    clock.now_s += EVERY_S / 2
    heartbeat.beat(pulse(60, rejected=50))
    assert capsys.readouterr().err == ""
    clock.now_s += EVERY_S / 2
    heartbeat.beat(pulse(60, rejected=50))
    assert "30 of the last 30 lines rejected" in capsys.readouterr().err


def test_systemd_is_notified(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        heartbeat = Heartbeat(quiet=True, now=clock)
        heartbeat.beat(pulse(1))
        assert [systemd.recv(1_000) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
        clock.now_s += 9
        heartbeat.beat(pulse(1))
        with pytest.raises(BlockingIOError):
            systemd.recv(1_000)
        clock.now_s += EVERY_S
        heartbeat.beat(pulse(7))
        assert [systemd.recv(1_000) for _ in range(2)] == [
            b"WATCHDOG=1",
            b"STATUS=7 lines, 0 rejected, 7 sent",
        ]


@pytest.mark.parametrize("address", ["", "relative", "/nonexistent/notify", "@nobody"])
def test_without_a_systemd_that_listens_nothing_happens(
    address: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "nonsense")
    Heartbeat(quiet=True, now=clock).beat(pulse(1))


def test_metrics_about_itself_are_what_has_come_since(clock: Clock) -> None:
    metrics = SelfMetrics("dogstatsd", ("env:prod",))
    first = metrics.payload(*pulse(10, rejected=2, lag_s=0.5))
    assert first.decode().splitlines() == [
        "logstatsd.lines:8|c|#outcome:parsed,env:prod",
        "logstatsd.lines:2|c|#outcome:rejected,env:prod",
        "logstatsd.timings:8|c|#fate:sent,env:prod",
        "logstatsd.lag:0.5|g|#env:prod",
    ]
    second = metrics.payload(*pulse(15, rejected=2))
    assert second.decode().splitlines() == [
        "logstatsd.lines:5|c|#outcome:parsed,env:prod",
        "logstatsd.timings:5|c|#fate:sent,env:prod",
    ]
    assert metrics.payload(*pulse(15, rejected=2)) == b""


def test_pulses_are_sent_once_a_minute(clock: Clock) -> None:
    sent: list[Pulse] = []
    heartbeat = Heartbeat(quiet=True, send_metrics=sent.append, now=clock)
    for lines in range(10):
        clock.now_s += EVERY_S / 2
        heartbeat.beat(pulse(lines))
    assert [each.lines.lines for each in sent] == [1, 3, 5, 7, 9]
