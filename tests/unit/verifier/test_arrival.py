"""Calls of a forked child wait until it has attached, and no longer."""

import pytest

from crewgate.leases.branch_opening import Status
from crewgate.verifier.waiters import Arrival, ThreadWaiter


@pytest.mark.parametrize("status", [Status.GRANTED, None])
def test_who_waits_is_rung_once_and_who_comes_later_does_not_wait(status: Status | None) -> None:
    """Whether it came or failed."""
    arrival, first, second = Arrival(), ThreadWaiter(), ThreadWaiter()
    assert arrival.await_with(first)
    arrival.end(status)
    first.wait(60)
    assert first.status is status
    assert not arrival.await_with(second)
    first.status = Status.CLOSED
    arrival.end(Status.GRANTED)
    assert (first.status, second.status) == (Status.CLOSED, None)
