"""The ledger: every value that left is sent, dropped or unconfirmed, and none is counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstatsd.delivery.ledger import Ledger, Payload


@pytest.fixture
def ledger() -> Ledger:
    """Three payloads in flight, of 10, 20 and 30 bytes and 1, 2 and 3 values."""
    ledger = Ledger()
    for number in (1, 2, 3):
        ledger.depart(Payload(b"x" * 10 * number, number))
    return ledger


@pytest.mark.parametrize(
    ("backlog_bytes", "sent"), [(60, 0), (51, 0), (50, 1), (30, 3), (29, 3), (1, 3), (0, 6)]
)
def test_what_the_queue_cannot_hold_any_more_was_read(ledger: Ledger, backlog_bytes: int, sent: int) -> None:
    ledger.arrive(backlog_bytes)
    assert (ledger.sent, bool(ledger)) == (sent, sent < 6)


def test_a_loss_is_of_what_came_last_and_of_no_more_than_was_in_flight(ledger: Ledger) -> None:
    ledger.lose_newest(2)
    assert (ledger.dropped, ledger.in_flight_bytes) == (5, 10)
    ledger.lose_newest(2)
    assert (ledger.dropped, ledger.in_flight_bytes) == (6, 0)


def test_what_came_back_can_leave_again(ledger: Ledger) -> None:
    ledger.depart(ledger.return_newest())
    ledger.settle(confirmed=True)
    assert (ledger.sent, ledger.in_flight_bytes) == (6, 0)


STEPS = ("depart", "arrive", "lose", "confirm", "give up")


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 40))))
def test_whatever_happens_every_value_is_counted_once(steps: list[tuple[str, int]]) -> None:
    ledger, due = Ledger(), 0
    for step, number in steps:
        if step == "depart":
            ledger.depart(Payload(b"x" * number, number))
            due += number
        elif step == "arrive":
            ledger.arrive(number)
        elif step == "lose":
            ledger.lose_newest(number)
        else:
            ledger.settle(confirmed=step == "confirm")
    ledger.settle(confirmed=False)
    assert due == ledger.sent + ledger.dropped + ledger.unconfirmed
    assert ledger.in_flight_bytes == 0
