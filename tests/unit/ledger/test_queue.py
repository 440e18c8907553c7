import pytest
from account_family import (
    BOOT,
    CREW,
    NOW,
    ROOT,
    A,
    B,
    amount,
    draw,
    family,
    give,
    spend,
)
from engines import NewLedger

from crewgate import limits
from crewgate.core.budget.ledger_protocol import (
    DrawGranted,
    DrawLease,
    DrawQueued,
    QuotaExhausted,
    ReportLeaseUsage,
    WindowUsage,
    window_of,
)


def test_missing_credit_in_other_leases_is_a_ticket(new_ledger: NewLedger) -> None:
    """The level is named, and what it lacks."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 90)
    assert draw(ledger, B, 1, 15) == DrawQueued(ROOT, missing=5)
    give(ledger, A, 5)
    assert amount(draw(ledger, B, 2, 15)) == 15


def test_credit_reserved_at_fixed_prices_cannot_come_back(new_ledger: NewLedger) -> None:
    """Calls in flight count as spent: exhausted, not a ticket."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 90)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, 60, reserved=30), 0.0)
    assert draw(ledger, B, 1, 15) == QuotaExhausted(ROOT, used=90, quota=100, missing=5)


def test_what_the_drawer_holds_itself_cannot_come_back_to_it(new_ledger: NewLedger) -> None:
    """It draws for what is missing besides its own lease."""
    ledger = family(new_ledger, a=10)
    draw(ledger, A, 1, 10)
    spend(ledger, A, 1, 9)
    assert draw(ledger, A, 2, 1) == QuotaExhausted(A, used=9, quota=10, missing=1)


def test_what_its_own_calls_hold_as_upper_bounds_may_come_back(new_ledger: NewLedger) -> None:
    """A small call beside a large one of the same branch waits, if that can help."""
    ledger = family(new_ledger, a=50)
    draw(ledger, A, 1, 50)  # of which 40 are held as an upper bound, and 10 are spent
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, spent=10), 0.0)
    assert isinstance(draw(ledger, A, 2, 41, loose=40), QuotaExhausted)
    assert draw(ledger, A, 3, 40, loose=40) == DrawQueued(A, 40)
    assert isinstance(draw(ledger, A, 4, 1), QuotaExhausted)  # by now it holds nothing more


def test_a_grant_says_what_is_left(new_ledger: NewLedger) -> None:
    """Of the tightest level, which may be an ancestor."""
    ledger = family(new_ledger, root=60, a=50)
    first, second = draw(ledger, A, 1, 20), draw(ledger, B, 1, 25)
    assert isinstance(first, DrawGranted)
    assert isinstance(second, DrawGranted)
    assert (first.left, second.left) == (30, 15)


def test_tickets_are_served_first_come_first_served(new_ledger: NewLedger) -> None:
    """A later, smaller wish does not pass one that waits and can be met."""
    ledger = family(new_ledger, a=200)
    draw(ledger, A, 1, 95, holder="other")
    assert draw(ledger, A, 1, 40) == DrawQueued(ROOT, missing=35)
    late = draw(ledger, B, 1, 5)
    assert isinstance(late, DrawQueued)
    give(ledger, A, 40, holder="other")
    assert isinstance(draw(ledger, B, 2, 6), DrawQueued)
    assert amount(draw(ledger, A, 2, 40)) == 40
    assert amount(draw(ledger, B, 3, 5)) == 5


def test_a_ticket_that_can_no_longer_be_met_holds_up_nobody(new_ledger: NewLedger) -> None:
    """Once the awaited credit was spent, those behind are served, and it is answered at once."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 95, holder="other")
    assert isinstance(draw(ledger, A, 1, 40), DrawQueued)
    spend(ledger, A, 1, 90, holder="other")
    assert amount(draw(ledger, B, 1, 5)) == 5
    assert isinstance(draw(ledger, A, 2, 40), QuotaExhausted)


@pytest.mark.parametrize("later", [limits.ticket_seconds + 0.01, -3600.0])
def test_a_ticket_that_nobody_asks_for_is_dropped(new_ledger: NewLedger, later: float) -> None:
    """A place in the queue ends with its waiter, and with a clock that is set back."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 95, holder="other")
    assert isinstance(draw(ledger, A, 1, 40), DrawQueued)
    assert amount(draw(ledger, B, 1, 5, now=NOW + later)) == 5


def test_leases_are_exact_while_anybody_waits(new_ledger: NewLedger) -> None:
    """A tight level gives nobody more than the need."""
    ledger = family(new_ledger, root=1000, a=1000, b=1000)
    draw(ledger, A, 1, 900, holder="other")
    assert isinstance(draw(ledger, A, 1, 500), DrawQueued)
    give(ledger, A, 800, holder="other")
    assert amount(draw(ledger, B, 1, 10, rate=10**6)) == 10


def test_the_crews_hour_bounds_all_its_branches_and_a_new_hour_begins_anew(
    new_ledger: NewLedger,
) -> None:
    """The hourly allowance is a level of every path."""
    ledger = family(new_ledger, hourly=50)
    assert amount(draw(ledger, A, 1, 50)) == 50
    spend(ledger, A, 1, 50)
    refused = draw(ledger, B, 1, 1)
    hour = window_of(int(NOW) // 3600, is_day=False)
    assert refused == QuotaExhausted(CREW, used=50, quota=50, missing=1, window=hour)
    answer = draw(ledger, B, 2, 1, now=NOW + 3600)
    assert isinstance(answer, DrawGranted)
    assert answer.hour == WindowUsage(int(NOW) // 3600 + 1, 1)


def test_the_crews_day_bounds_what_its_hours_allow(new_ledger: NewLedger) -> None:
    """Hours may each have room left and the day none."""
    ledger = family(new_ledger, hourly=50, daily=70)
    midnight = NOW - NOW % 86_400
    draw(ledger, A, 1, 50, now=midnight)
    spend(ledger, A, 1, 50)
    assert isinstance(draw(ledger, B, 1, 21, now=midnight + 3600), QuotaExhausted)
    assert amount(draw(ledger, B, 2, 20, now=midnight + 3600)) == 20
    assert amount(draw(ledger, B, 3, 20, now=midnight + 86_400)) == 20


def test_credit_given_back_returns_to_the_hour_it_was_drawn_in(new_ledger: NewLedger) -> None:
    """A new hour is not enlarged by what an old one leased."""
    ledger = family(new_ledger, hourly=50)
    draw(ledger, A, 1, 30)
    draw(ledger, A, 2, 10, now=NOW + 3600)
    give(ledger, A, 35)
    assert isinstance(draw(ledger, B, 1, 51, now=NOW + 3600), QuotaExhausted)
    assert amount(draw(ledger, B, 2, 50, now=NOW + 3600)) == 50


def test_a_clock_that_is_set_back_gives_no_hour_twice(new_ledger: NewLedger) -> None:
    """What is drawn then is charged to the newest hour that was seen."""
    ledger = family(new_ledger, hourly=50)
    draw(ledger, A, 1, 10, now=NOW + 3600)
    draw(ledger, A, 2, 40, now=NOW)
    spend(ledger, A, 1, 50)
    assert isinstance(draw(ledger, A, 3, 1, now=NOW), QuotaExhausted)
    assert isinstance(draw(ledger, A, 4, 1, now=NOW + 3600), QuotaExhausted)


def test_who_draws_ahead_is_in_nobodys_way(new_ledger: NewLedger) -> None:
    """It takes what is free, no place in the queue, and nothing while somebody waits."""
    ledger = family(new_ledger)

    def ahead(branch: bytes, seq: int, need: int, rate: int = 0) -> object:
        return ledger.do(DrawLease(branch, "one", BOOT, seq, need, rate, ahead=True), NOW)

    assert amount(ahead(A, 1, 1, rate=160)) == 40
    assert amount(ahead(A, 2, 1, rate=120)) == 30
    assert ahead(A, 3, 31) == DrawQueued(A, missing=1)
    assert isinstance(draw(ledger, B, 1, 40), DrawQueued)
    assert isinstance(ahead(A, 4, 1), DrawQueued)
    give(ledger, A, 70)
    assert isinstance(ahead(A, 5, 1), DrawQueued)
    assert amount(draw(ledger, B, 2, 40)) == 40
    assert amount(ahead(A, 6, 1)) == 1
