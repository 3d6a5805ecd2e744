"""A run that goes on tells once a minute how it is doing, and systemd more often where that asks."""

from __future__ import annotations

import os
import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from logstatsd.cli.heartbeat import EVERY_S, REJECTIONS_AFTER_S, Heartbeat, Pulse
from logstatsd.delivery.encoders.encoder import Totals
from logstatsd.model.line_counts import LineCounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    """A clock that stands still unless it is moved."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pulse(lines: int = 0, bad: int = 0, *, dropped: int = 0, lag_s: float | None = None) -> Pulse:
    counts = LineCounts(lines, rejected=Counter({"no match": bad} if bad else {}))
    counts.samples += [("no match", b"junk %d" % number) for number in range(1, bad + 1)]
    return Pulse(counts, Totals(lines - bad, lines - bad - dropped, dropped, 0, 0, 1, 0, None), lag_s)


# --- on standard error ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (pulse(), "0 lines, 0 rejected, 0 sent"),
        (pulse(1_234, 34), "1,234 lines, 34 rejected, 1,200 sent"),
        (pulse(1_234, dropped=4), "1,234 lines, 0 rejected, 1,230 sent, 4 lost"),
        (pulse(10, lag_s=2.345), "10 lines, 0 rejected, 10 sent, 2.3 s behind"),
        (pulse(10, lag_s=-0.2), "10 lines, 0 rejected, 10 sent, 0.0 s behind"),
    ],
)
def test_a_pulse_is_a_line_of_words(found: Pulse, words: str) -> None:
    assert str(found) == words


def test_it_tells_once_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat = Heartbeat(now=clock)
    for _ in range(4):
        clock.now_s += EVERY_S / 2
        heartbeat.beat(pulse(10))
    assert capsys.readouterr().err == 2 * "10 lines, 0 rejected, 10 sent\n"


def test_with_metrics_about_itself_each_minute_is_sent_though_it_is_quiet(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[Pulse] = []
    heartbeat = Heartbeat(quiet=True, send_metrics=sent.append, now=clock)
    heartbeat.beat(pulse(5))
    clock.now_s += EVERY_S
    heartbeat.beat(pulse(10))
    assert sent == [pulse(10)]
    assert capsys.readouterr().err == ""


def test_new_rejections_are_told_soon_though_it_is_quiet(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    heartbeat = Heartbeat(quiet=True, now=clock)
    heartbeat.beat(pulse(10))
    heartbeat.beat(pulse(12, bad=1))
    assert capsys.readouterr().err == ""
    clock.now_s += REJECTIONS_AFTER_S
    heartbeat.beat(pulse(15, bad=2))
    assert capsys.readouterr().err == (
        "2 of the last 5 lines rejected (no match 2 so far)\n  no match: junk 2\n"
    )


def test_rejections_are_told_once_a_minute_at_most(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat = Heartbeat(quiet=True, now=clock)
    for bad in range(1, 31):
        heartbeat.beat(pulse(10 * bad, bad=bad))
        clock.now_s += REJECTIONS_AFTER_S
    assert capsys.readouterr().err.count("lines rejected") == 1
    clock.now_s += EVERY_S
    heartbeat.beat(pulse(310, bad=31))
    assert "lines rejected" in capsys.readouterr().err


# --- to systemd -------------------------------------------------------------------------------------------


@pytest.fixture(params=["a file", "an abstract name"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket that systemd listens at, as NOTIFY_SOCKET names it."""
    name = str(tmp_path / "notify") if request.param == "a file" else f"@logstatsd-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name if name[0] == "/" else "\0" + name[1:])
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def told(systemd: socket.socket) -> list[str]:
    """Read what systemd was told since the last call."""
    found = []
    while True:
        try:
            found.append(systemd.recv(4_096).decode())
        except BlockingIOError:
            return found


def test_systemd_is_told_of_the_start_and_of_every_heartbeat(clock: Clock, systemd: socket.socket) -> None:
    heartbeat = Heartbeat(quiet=True, now=clock)
    heartbeat.beat(pulse())
    heartbeat.beat(pulse(5))
    assert told(systemd) == ["READY=1"]
    clock.now_s += EVERY_S
    heartbeat.beat(pulse(10))
    assert told(systemd) == ["STATUS=10 lines, 0 rejected, 10 sent"]


def test_the_watchdog_is_fed_twice_as_often_as_it_asks_for(
    clock: Clock, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    heartbeat = Heartbeat(quiet=True, now=clock)
    for _ in range(10):
        heartbeat.beat(pulse())
        clock.now_s += 1
    assert told(systemd) == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_the_watchdog_of_another_process_is_not_fed(
    clock: Clock, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    Heartbeat(quiet=True, now=clock).beat(pulse())
    assert told(systemd) == ["READY=1"]


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify"])
def test_without_systemd_nothing_is_told_and_nothing_fails(
    address: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    Heartbeat(quiet=True, now=clock).beat(pulse())
    assert capsys.readouterr() == ("", "")
