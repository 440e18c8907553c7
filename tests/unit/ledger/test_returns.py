import pytest
from account_family import (
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
from engines import NewLedger
from msgspec import structs

from crewgate.core.budget.ledger_protocol import (
    BranchClosed,
    BranchesOpened,
    BranchPathLevel,
    CloseBranch,
    DrawQueued,
    LeaseUsage,
    QuotaExhausted,
    ReportLeaseUsage,
)
from crewgate.errors import InvalidLedgerOperationError


def test_give_back_counts_once_on_every_level(new_ledger: NewLedger) -> None:
    """The total is what counts: duplicates and late messages change nothing."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 50)
    for total in (20, 20, 10, 20):
        give(ledger, A, total)
    assert [s.remaining for s in ledger.report(ROOT)] == [70, 70, 100]
    assert line(ledger, CREW).leased == 30


def test_more_than_was_granted_cannot_be_given_back(new_ledger: NewLedger) -> None:
    """A holder that claims it is broken: an error, and nothing changes."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 50)
    before = ledger.report()
    with pytest.raises(InvalidLedgerOperationError, match="more"):
        give(ledger, A, 51)
    assert ledger.report() == before


def test_the_newest_report_counts_even_if_it_says_less(new_ledger: NewLedger) -> None:
    """A released call lowers what was spent; a late older report does not raise it again."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 50)
    spend(ledger, A, 5, 30)
    spend(ledger, A, 6, 20)
    spend(ledger, A, 5, 30)
    assert (line(ledger, ROOT).settled, line(ledger, ROOT).leased) == (20, 30)


def test_a_report_that_a_give_back_overtook_never_counts_more_than_is_leased(
    new_ledger: NewLedger,
) -> None:
    """Totals stay exact in whatever order messages arrive."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 50)
    spend(ledger, A, 1, 30)
    give(ledger, A, 40)
    assert line(ledger, A).settled == 10
    assert line(ledger, A).leased == 0
    spend(ledger, A, 2, 5)
    assert (line(ledger, A).settled, line(ledger, A).leased) == (5, 5)


def test_overrun_is_recorded_and_charged_to_nobody(new_ledger: NewLedger) -> None:
    """What a response stated above its bound is shown beside the account."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 50)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, 50, overrun=7), 0.0)
    assert (line(ledger, A).overrun, line(ledger, A).settled) == (7, 50)


def test_a_closed_branch_draws_no_more_nor_does_what_is_below(new_ledger: NewLedger) -> None:
    """Closing an ancestor ends its descendants' draws; siblings go on."""
    ledger = family(new_ledger)
    ledger.do(CloseBranch(A), 0.0)
    assert draw(ledger, A, 1, 1) == BranchClosed(A)
    assert amount(draw(ledger, B, 1, 1)) == 1
    ledger.do(CloseBranch(ROOT), 0.0)
    assert draw(ledger, B, 2, 1) == BranchClosed(ROOT)
    assert ledger.do(
        path(BranchPathLevel(ROOT, 100, 9), BranchPathLevel(B, 100, 9)), 0.0
    ) == BranchClosed(ROOT)


def test_a_closed_childs_unspent_credit_returns_once_from_every_holder(
    new_ledger: NewLedger,
) -> None:
    """Exactly what was leased and not spent comes back to the root and the crew."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 30, holder="one")
    draw(ledger, A, 1, 20, holder="two")
    spend(ledger, A, 1, 12, holder="one")
    ledger.do(CloseBranch(A), 0.0)
    ledger.do(CloseBranch(A), 0.0)
    for _ in range(2):
        give(ledger, A, 18, holder="one")
        give(ledger, A, 20, holder="two")
    assert (line(ledger, ROOT).remaining, line(ledger, ROOT).settled) == (88, 12)
    assert line(ledger, CREW).leased == 0


def test_a_new_boot_burns_what_the_old_one_held(new_ledger: NewLedger) -> None:
    """The table is gone: what it leased and did not report as spent is lost, not granted again."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 30)
    spend(ledger, A, 1, 10)
    draw(ledger, B, 1, 5, boot=NEXT_BOOT)
    give(ledger, A, 20)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned, root.leased, root.remaining) == (10, 20, 5, 65)


def test_what_a_burned_lease_settles_late_moves_from_burned_to_settled(
    new_ledger: NewLedger,
) -> None:
    """A machine that comes back with its table still tells what was spent."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 30)
    draw(ledger, B, 1, 5, boot=NEXT_BOOT)
    spend(ledger, A, 1, 12)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned) == (12, 18)


def test_a_silent_holders_leases_are_burned_and_nobody_waits_for_them(
    new_ledger: NewLedger,
) -> None:
    """Unheard since that beat, its credit cannot come back: exhausted, not a ticket for ever."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 95, holder="silent")
    assert isinstance(draw(ledger, B, 1, 10), DrawQueued)
    boot, beat = ledger.heartbeats()["silent"]
    spend(ledger, A, 1, 1, holder="silent")
    assert ledger.burn("silent", boot, beat) == 0
    boot, beat = ledger.heartbeats()["silent"]
    assert ledger.burn("silent", NEXT_BOOT, beat) == 0
    assert ledger.burn("silent", boot, beat) == 94
    assert ledger.burn("silent", boot, beat) == 0
    give(ledger, A, 50, holder="silent")
    assert isinstance(draw(ledger, B, 3, 10), QuotaExhausted)
    assert line(ledger, ROOT).burned == 94


def test_a_machine_that_was_only_slow_draws_on(new_ledger: NewLedger) -> None:
    """What it spends counts against what was written off first; what comes back of that is void."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 40)
    ledger.burn("one", *ledger.heartbeats()["one"])
    assert amount(draw(ledger, A, 2, 20)) == 20
    spend(ledger, A, 1, 25)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned, root.leased) == (25, 15, 20)
    give(ledger, A, 10)
    give(ledger, A, 10)
    assert line(ledger, ROOT).burned == 15
    spend(ledger, A, 2, 35)
    give(ledger, A, 25)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned, root.leased, root.remaining) == (35, 10, 0, 55)


def test_who_lives_says_so(new_ledger: NewLedger) -> None:
    """Any draw, give-back or settle is a sign of life, and so is a beat of the same boot."""
    ledger = family(new_ledger)
    heard = []
    for say in (
        lambda: draw(ledger, A, 1, 5),
        lambda: spend(ledger, A, 1, 1),
        lambda: give(ledger, A, 1),
        lambda: ledger.heartbeat("one", BOOT),
    ):
        say()
        heard.append(ledger.heartbeats()["one"][1])
    assert heard == sorted(set(heard))
    ledger.heartbeat("one", NEXT_BOOT)
    ledger.heartbeat("nobody", BOOT)
    assert ledger.heartbeats() == {"one": (BOOT, heard[-1])}


def test_what_never_opened_is_closed_too(new_ledger: NewLedger) -> None:
    """A branch that was revoked before it was seen, or the key that signed its grant."""
    ledger = family(new_ledger)
    unseen, key = b"unseen".ljust(16), b"key".ljust(16)
    ledger.do(CloseBranch(unseen), 0.0)
    ledger.do(CloseBranch(key), 0.0)
    below = path(
        BranchPathLevel(ROOT, 100, 1),
        BranchPathLevel(unseen, 50, 1),
        BranchPathLevel(b"child".ljust(16), 5, 1),
    )
    assert ledger.do(below, 0.0) == BranchClosed(unseen)
    signed = structs.replace(
        path(BranchPathLevel(ROOT, 100, 1), BranchPathLevel(A, 50, 1)), besides=(key,)
    )
    assert ledger.do(signed, 0.0) == BranchClosed(key)
    assert isinstance(ledger.do(structs.replace(signed, besides=(B,)), 0.0), BranchesOpened)


def test_a_table_that_has_forgotten_a_branch_is_told_how_far_it_got(new_ledger: NewLedger) -> None:
    """Numbers and totals count per boot, so the next draw and give-back go on from there."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 30)
    draw(ledger, A, 2, 30)
    give(ledger, A, 20)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, 35, burned=5), 0.0)
    opened = ledger.do(path(BranchPathLevel(ROOT, 100, 1), BranchPathLevel(A, 100, 1)), 0.0)
    assert isinstance(opened, BranchesOpened)
    told = {each.key: each.lease for each in opened.grants}
    assert told == {
        CREW: LeaseUsage(),
        ROOT: LeaseUsage(),
        A: LeaseUsage(2, 60, 20, 35, 5, reported=True),
    }
    elsewhere = structs.replace(
        path(BranchPathLevel(ROOT, 100, 1), BranchPathLevel(A, 100, 1)), holder="two"
    )
    opened = ledger.do(elsewhere, 0.0)
    assert isinstance(opened, BranchesOpened)
    assert opened.grants[-1].lease == LeaseUsage()


def test_what_an_operator_forgives_returns_once(new_ledger: NewLedger) -> None:
    """Burned credit of one branch comes back to every level; late messages bring nothing more."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 60)
    draw(ledger, B, 1, 10)
    spend(ledger, A, 1, 20)
    ledger.burn("one", *ledger.heartbeats()["one"])
    assert (ledger.forgive(A), ledger.forgive(A), ledger.forgive(ROOT)) == (40, 0, 0)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned, root.leased, root.remaining) == (20, 10, 0, 70)
    give(ledger, A, 40)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned, root.leased, root.remaining) == (20, 10, 0, 70)
    assert amount(draw(ledger, B, 2, 70, boot=NEXT_BOOT)) == 70


def test_what_is_told_later_undoes_what_was_forgiven(new_ledger: NewLedger) -> None:
    """A machine that was only silent has spent it: it is charged, and nothing is granted twice."""
    ledger = family(new_ledger, root=10)
    draw(ledger, A, 1, 10)
    ledger.burn("one", *ledger.heartbeats()["one"])
    assert ledger.forgive(A) == 10
    assert line(ledger, ROOT).remaining == 10
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, 3, reserved=2), 0.0)
    root = line(ledger, ROOT)
    assert (root.settled, root.reserved, root.burned, root.remaining) == (3, 2, 0, 5)
    spend(ledger, A, 2, 10)
    root = line(ledger, ROOT)
    assert (root.settled, root.burned, root.leased, root.remaining) == (10, 0, 0, 0)
    assert isinstance(draw(ledger, A, 2, 10), QuotaExhausted)


def test_what_was_granted_on_a_word_that_was_wrong_is_overdrawn(new_ledger: NewLedger) -> None:
    """It is spent twice then, and both times are charged."""
    ledger = family(new_ledger, root=10)
    draw(ledger, A, 1, 10)
    ledger.burn("one", *ledger.heartbeats()["one"])
    ledger.forgive(A)
    assert amount(draw(ledger, B, 1, 10, holder="two")) == 10
    spend(ledger, A, 1, 10)
    root = line(ledger, ROOT)
    assert (root.settled, root.leased, root.remaining) == (10, 10, -10)


def test_what_was_mistaken_for_burned_is_charged_again(new_ledger: NewLedger) -> None:
    """A report that says so, forgiven, and one that knows better."""
    ledger = family(new_ledger, root=10)
    draw(ledger, A, 1, 10)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, 0, burned=5), 0.0)
    assert ledger.forgive(A) == 5
    spend(ledger, A, 2, 10)
    assert line(ledger, ROOT).remaining == 0
    assert isinstance(draw(ledger, A, 2, 5), QuotaExhausted)


def test_what_was_mistaken_for_burned_returns_once(new_ledger: NewLedger) -> None:
    """Forgiven, and given back after that by who had it all the time."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 10)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, 0, burned=5), 0.0)
    assert ledger.forgive(A) == 5
    give(ledger, A, 10)
    spend(ledger, A, 2, 0)
    assert [(s.leased, s.remaining) for s in ledger.report(ROOT)] == [(0, 100)] * 3


def test_a_word_that_was_undone_forgives_no_later_loss(new_ledger: NewLedger) -> None:
    """What is lost then was never forgiven by anybody."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 10)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, 0, burned=5), 0.0)
    ledger.forgive(A)
    spend(ledger, A, 2, 0)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 3, 0, burned=4), 0.0)
    assert (line(ledger, A).burned, line(ledger, A).remaining) == (4, 90)


def test_what_is_forgiven_returns_to_the_hour_and_is_drawn_again(new_ledger: NewLedger) -> None:
    """A crew's allowance of the hour is there for others only until it is told to be spent."""
    ledger = family(new_ledger, hourly=20)
    draw(ledger, A, 1, 15)
    ledger.burn("one", *ledger.heartbeats()["one"])
    assert line(ledger, CREW).hour.charged == 15
    ledger.forgive(A)
    assert line(ledger, CREW).hour.charged == 0
    spend(ledger, A, 1, 12)
    assert line(ledger, CREW).hour.charged == 12
    assert isinstance(draw(ledger, B, 1, 9, holder="two"), QuotaExhausted)
    assert amount(draw(ledger, B, 2, 8, holder="two")) == 8


def test_who_is_silent_holds_nothing_in_flight_until_it_says_so_again(
    new_ledger: NewLedger,
) -> None:
    """What it had reserved is burned with the rest; told since then, it is not."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 10)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 1, 2, reserved=3), 0.0)
    ledger.burn("one", *ledger.heartbeats()["one"])
    assert (line(ledger, A).burned, line(ledger, A).reserved) == (8, 0)
    ledger.do(ReportLeaseUsage(A, "one", BOOT, 2, 2, reserved=3), 0.0)
    assert (line(ledger, A).burned, line(ledger, A).reserved) == (5, 3)
    give(ledger, A, 8)
    spend(ledger, A, 3, 2)
    assert (line(ledger, A).burned, line(ledger, A).leased) == (8, 0)
