import pytest
from family import (
    BOOT,
    CREW,
    NEXT_BOOT,
    ROOT,
    A,
    B,
    amount,
    draw,
    family,
    give,
    line,
    path,
    spend,
)

from crewgate import limits
from crewgate.core.ledger import (
    Closed,
    Exhausted,
    Level,
    Settle,
    Ticket,
)
from crewgate.errors import LedgerError


def test_give_back_counts_once_on_every_level() -> None:
    """The total is what counts: duplicates and late messages change nothing."""
    ledger = family()
    draw(ledger, A, 1, 50)
    for total in (20, 20, 10, 20):
        give(ledger, A, total)
    assert [s.remaining for s in ledger.report(ROOT)] == [70, 70, 100]
    assert line(ledger, CREW).leased == 30


def test_more_than_was_granted_cannot_be_given_back() -> None:
    """A holder that claims it is broken: an error, and nothing changes."""
    ledger = family()
    draw(ledger, A, 1, 50)
    before = ledger.report()
    with pytest.raises(LedgerError, match="more"):
        give(ledger, A, 51)
    assert ledger.report() == before


def test_the_newest_report_counts_even_if_it_says_less() -> None:
    """A released call lowers what was spent; a late older report does not raise it again."""
    ledger = family()
    draw(ledger, A, 1, 50)
    spend(ledger, A, 5, 30)
    spend(ledger, A, 6, 20)
    spend(ledger, A, 5, 30)
    assert (line(ledger, ROOT).settled, line(ledger, ROOT).leased) == (20, 30)


def test_a_report_that_a_give_back_overtook_never_counts_more_than_is_leased() -> None:
    """Totals stay exact in whatever order messages arrive."""
    ledger = family()
    draw(ledger, A, 1, 50)
    spend(ledger, A, 1, 30)
    give(ledger, A, 40)
    assert line(ledger, A).settled == 10
    assert line(ledger, A).leased == 0
    spend(ledger, A, 2, 5)
    assert (line(ledger, A).settled, line(ledger, A).leased) == (5, 5)


def test_overrun_is_recorded_and_charged_to_nobody() -> None:
    """What a response stated above its bound is shown beside the account."""
    ledger = family()
    draw(ledger, A, 1, 50)
    ledger.settle(Settle(A, "one", BOOT, 1, 50, overrun=7))
    assert (line(ledger, A).overrun, line(ledger, A).settled) == (7, 50)


def test_a_closed_branch_draws_no_more_nor_does_what_is_below() -> None:
    """Closing an ancestor ends its descendants' draws; siblings go on."""
    ledger = family()
    ledger.close(A)
    assert draw(ledger, A, 1, 1) == Closed(A)
    assert amount(draw(ledger, B, 1, 1)) == 1
    ledger.close(ROOT)
    assert draw(ledger, B, 2, 1) == Closed(ROOT)
    assert ledger.open(path(Level(ROOT, 100, 9), Level(B, 100, 9))) == Closed(ROOT)


def test_a_closed_childs_unspent_credit_returns_once_from_every_holder() -> None:
    """Exactly what was leased and not spent comes back to the root and the crew."""
    ledger = family()
    draw(ledger, A, 1, 30, holder="one")
    draw(ledger, A, 1, 20, holder="two")
    spend(ledger, A, 1, 12, holder="one")
    ledger.close(A)
    ledger.close(A)
    for _ in range(2):
        give(ledger, A, 18, holder="one")
        give(ledger, A, 20, holder="two")
    assert (line(ledger, ROOT).remaining, line(ledger, ROOT).settled) == (88, 12)
    assert line(ledger, CREW).leased == 0


def test_a_new_boot_burns_what_the_old_one_held() -> None:
    """The table is gone: what it leased and did not report as spent is lost, not granted again."""
    ledger = family()
    draw(ledger, A, 1, 30)
    spend(ledger, A, 1, 10)
    draw(ledger, B, 1, 5, boot=NEXT_BOOT)
    give(ledger, A, 20)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned, root.leased, root.remaining) == (10, 20, 5, 65)


def test_what_a_burned_lease_settles_late_moves_from_burned_to_settled() -> None:
    """A machine that comes back with its table still tells what was spent."""
    ledger = family()
    draw(ledger, A, 1, 30)
    draw(ledger, B, 1, 5, boot=NEXT_BOOT)
    spend(ledger, A, 1, 12)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned) == (12, 18)


def test_a_silent_holders_leases_are_burned_and_nobody_waits_for_them() -> None:
    """After 30 s without a sign the credit cannot come back: exhausted, not a ticket for ever."""
    ledger = family()
    draw(ledger, A, 1, 95, holder="silent")
    assert isinstance(draw(ledger, B, 1, 10), Ticket)
    assert ledger.pass_time(limits.holder_silence_seconds - 1) == []
    spend(ledger, A, 1, 1, holder="silent")
    assert ledger.pass_time(limits.holder_silence_seconds - 1) == []
    draw(ledger, B, 2, 1)
    assert ledger.pass_time(1) == ["silent"]
    give(ledger, A, 50, holder="silent")
    assert isinstance(draw(ledger, B, 3, 10), Exhausted)
    assert line(ledger, ROOT).burned == 94
