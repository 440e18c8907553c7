"""Calls of a forked child wait until it has attached, and no longer."""

import pytest

from crewgate.leases.branch_opening import DrawResult
from crewgate.verifier.waiters import AttachmentWaiters, ThreadWaiter


@pytest.mark.parametrize("status", [DrawResult.GRANTED, None])
def test_who_waits_is_rung_once_and_who_comes_later_does_not_wait(
    status: DrawResult | None,
) -> None:
    """Whether it came or failed."""
    arrival, first, second = AttachmentWaiters(), ThreadWaiter(), ThreadWaiter()
    assert arrival.await_with(first)
    arrival.end(status)
    first.wait(60)
    assert first.status is status
    assert not arrival.await_with(second)
    first.status = DrawResult.CLOSED
    arrival.end(DrawResult.GRANTED)
    assert (first.status, second.status) == (DrawResult.CLOSED, None)
