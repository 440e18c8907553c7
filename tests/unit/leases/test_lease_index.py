"""How fast a branch spends, as its draws see it: what a lease is sized by."""

import pytest

from crewgate.leases.lease_index import LeaseRecord

S = 10**9


def holding() -> LeaseRecord:
    return LeaseRecord(0, b"k" * 16, (), 0, 0, 0, granted=10**9)


def spend(of: LeaseRecord, amount: int, at: float) -> int:
    """So much more was spent by then; the rate a second."""
    return of.rate(of.leased - of.consumed - amount, S + round(at * S))


def test_a_steady_spend_is_known_by_its_rate() -> None:
    """However often somebody looks."""
    for step in (0.005, 0.05, 0.5, 5.0):
        of = holding()
        rates = [spend(of, round(1000 * step), n * step) for n in range(round(3 / step) + 8)]
        assert rates[-1] == pytest.approx(1000, rel=0.03)


def test_a_burst_is_no_more_than_what_it_spent() -> None:
    """Three calls within a millisecond are not three thousand a second."""
    of = holding()
    spend(of, 0, 0.0)
    for n in range(1, 4):
        assert spend(of, 1, n / 1000) // 4 <= n


def test_an_idle_branch_forgets_its_rate() -> None:
    """A second later next to nothing is left of it."""
    of = holding()
    for n in range(20):
        spend(of, 50, n * 0.05)
    assert spend(of, 0, 2.0) < 25


def test_credit_that_came_back_is_no_spend() -> None:
    """A refund, or a clock that stands still, makes no rate below zero."""
    of = holding()
    spend(of, 100, 0.0)
    assert spend(of, -50, 0.0) == 0
    assert spend(of, -50, 0.1) == 0
