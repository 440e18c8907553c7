import pytest
from account_family import (
    CREW,
    NEXT_BOOT,
    NOW,
    ROOT,
    A,
    B,
    amount,
    draw,
    family,
    line,
    path,
    spend,
)
from engines import NewLedger
from msgspec import structs

from crewgate.core.budget.ledger_protocol import (
    BranchesOpened,
    BranchPathLevel,
    DrawQueued,
    LeaseUsage,
    PathMismatch,
    QuotaExhausted,
)
from crewgate.errors import InvalidLedgerOperationError


def test_a_draw_is_charged_to_the_whole_path(new_ledger: NewLedger) -> None:
    """Ten micro-credits of a child are gone from the child, its root and its crew."""
    ledger = family(new_ledger)
    assert amount(draw(ledger, A, 1, 10)) == 10
    left = {s.key: s.quota - s.remaining for s in ledger.report()}
    assert left == {CREW: 10, ROOT: 10, A: 10, B: 0}


def test_a_branch_may_be_opened_and_drawn_for_at_once(new_ledger: NewLedger) -> None:
    """Its need, if that is free, once: a draw goes on under the next number."""
    ledger = family(new_ledger, root=80)
    asked = structs.replace(path(BranchPathLevel(ROOT, 80, 1), BranchPathLevel(A, 100, 1)), need=30)
    for _ in range(3):  # the answer was lost
        opened = ledger.do(asked, NOW)
        assert isinstance(opened, BranchesOpened)
        assert opened.left == 50
        assert opened.grants[-1].lease == LeaseUsage(seq=1, granted=30)
    assert amount(draw(ledger, A, 2, 5)) == 5
    assert line(ledger, ROOT).leased == 35


def test_who_opens_passes_nobody_that_waits(new_ledger: NewLedger) -> None:
    """Nor does it wait itself."""
    ledger = family(new_ledger, root=40)
    draw(ledger, A, 1, 20, holder="other")
    assert isinstance(draw(ledger, A, 1, 30), DrawQueued)
    opened = ledger.do(
        structs.replace(path(BranchPathLevel(ROOT, 40, 1), BranchPathLevel(B, 9, 1)), need=5), NOW
    )
    assert isinstance(opened, BranchesOpened)
    assert not opened.grants[-1].lease.granted


def test_an_ancestor_bounds_its_descendants_together(new_ledger: NewLedger) -> None:
    """Two children with 100 each under a root with 100 draw no more than 100."""
    ledger = family(new_ledger)
    assert amount(draw(ledger, A, 1, 70)) == 70
    spend(ledger, A, 1, 70)
    refused = draw(ledger, B, 1, 31)
    assert refused == QuotaExhausted(ROOT, used=70, quota=100, missing=1)
    assert amount(draw(ledger, B, 2, 30)) == 30


def test_the_emptiest_level_is_named_and_the_branch_first_among_equals(
    new_ledger: NewLedger,
) -> None:
    """Whoever is refused learns which budget is at its end."""
    ledger = family(new_ledger, root=100, a=100)
    draw(ledger, A, 1, 100)
    spend(ledger, A, 1, 100)
    answer = draw(ledger, A, 2, 1)
    assert isinstance(answer, QuotaExhausted)
    assert (answer.level, answer.used, answer.quota) == (A, 100, 100)


def test_the_same_draw_gets_the_same_answer_and_is_charged_once(new_ledger: NewLedger) -> None:
    """A reply that was lost is sent again, never granted again."""
    ledger = family(new_ledger)
    first = draw(ledger, A, 1, 10)
    assert draw(ledger, A, 1, 10) == first
    assert draw(ledger, A, 1, 99) == first
    assert line(ledger, CREW).leased == 10


def test_a_refusal_stays_a_refusal_under_its_number(new_ledger: NewLedger) -> None:
    """Credit that came back later serves the next draw, not the old one."""
    ledger = family(new_ledger, a=5)
    refused = draw(ledger, A, 1, 6)
    ledger.do(path(BranchPathLevel(ROOT, 100, 1), BranchPathLevel(A, 50, 2)), 0.0)
    assert draw(ledger, A, 1, 6) == refused
    assert amount(draw(ledger, A, 2, 6)) == 6


def test_a_draw_that_was_passed_is_an_error_and_changes_nothing(new_ledger: NewLedger) -> None:
    """A duplicate that arrives after the next draw cannot be granted."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 10)
    draw(ledger, A, 2, 10)
    before = ledger.report()
    with pytest.raises(InvalidLedgerOperationError, match="answered"):
        draw(ledger, A, 1, 10)
    assert ledger.report() == before


@pytest.mark.parametrize(("need", "rate"), [(0, 0), (-1, 0), (1, -1)])
def test_a_draw_without_a_need_is_an_error(new_ledger: NewLedger, need: int, rate: int) -> None:
    """Need is above zero, a rate is never negative."""
    with pytest.raises(InvalidLedgerOperationError):
        draw(family(new_ledger), A, 1, need, rate=rate)


def test_a_draw_of_a_branch_that_was_never_opened_is_an_error(new_ledger: NewLedger) -> None:
    """The ledger grants to nobody whose path it does not know."""
    with pytest.raises(InvalidLedgerOperationError):
        draw(new_ledger(), A, 1, 1)


def test_an_error_keeps_the_draw_from_counting_its_holder(new_ledger: NewLedger) -> None:
    """A replaced boot gets nothing, however it asks."""
    ledger = family(new_ledger)
    draw(ledger, A, 1, 10)
    draw(ledger, A, 1, 10, boot=NEXT_BOOT)
    with pytest.raises(InvalidLedgerOperationError, match="replaced"):
        draw(ledger, B, 1, 1)


def test_a_path_is_fixed_when_it_is_first_seen(new_ledger: NewLedger) -> None:
    """Another path is a mismatch, of the branch or of an ancestor, and opens nothing."""
    ledger = family(new_ledger)
    before = ledger.report()
    assert ledger.do(path(BranchPathLevel(A, 100, 2)), 0.0) == PathMismatch(A)
    new = b"new".ljust(16)
    below_another = path(BranchPathLevel(A, 1, 5), BranchPathLevel(new, 1, 5))
    assert ledger.do(below_another, 0.0) == PathMismatch(A)
    assert ledger.report() == before


def test_the_newest_grant_governs(new_ledger: NewLedger) -> None:
    """Highest iat; at equal iat the lower quota; an older one changes nothing."""
    ledger = family(new_ledger, a=100)

    def quota(value: int, iat: int) -> tuple[int, int]:
        ledger.do(path(BranchPathLevel(ROOT, 100, 1), BranchPathLevel(A, value, iat)), 0.0)
        return line(ledger, A).quota, line(ledger, A).iat

    assert quota(50, 3) == (50, 3)
    assert quota(80, 2) == (50, 3)
    assert quota(80, 3) == (50, 3)
    assert quota(40, 3) == (40, 3)
    assert quota(90, 4) == (90, 4)


def test_an_element_without_iat_only_opens_the_unknown(new_ledger: NewLedger) -> None:
    """A child's token cannot raise a parent's quota unless it carries that grant of the parent."""
    ledger = new_ledger()
    ledger.do(path(BranchPathLevel(ROOT, 10), BranchPathLevel(A, 5, 1)), 0.0)
    assert line(ledger, ROOT).quota == 10
    ledger.do(path(BranchPathLevel(ROOT, 900), BranchPathLevel(A, 5, 1)), 0.0)
    assert line(ledger, ROOT).quota == 10
    ledger.do(path(BranchPathLevel(ROOT, 20, 1), BranchPathLevel(A, 5, 1)), 0.0)
    assert line(ledger, ROOT).quota == 20


def test_a_lowered_quota_says_what_is_overdrawn_and_grants_no_more(new_ledger: NewLedger) -> None:
    """What was leased may be spent; then the branch is exhausted."""
    ledger = family(new_ledger, a=100)
    draw(ledger, A, 1, 60)
    opened = ledger.do(path(BranchPathLevel(ROOT, 100, 1), BranchPathLevel(A, 50, 2)), 0.0)
    assert isinstance(opened, BranchesOpened)
    assert [s.overdrawn for s in opened.grants] == [0, 0, 10]
    spend(ledger, A, 1, 60)
    answer = draw(ledger, A, 2, 1)
    assert isinstance(answer, QuotaExhausted)
    assert (answer.used, answer.quota, answer.missing) == (60, 50, 11)


def test_a_lease_follows_recent_spend_between_the_need_and_a_fair_share(
    new_ledger: NewLedger,
) -> None:
    """0.25 s of spend, never less than the need, never more than what remains / (2 × holders)."""
    ledger = family(new_ledger, root=1000, a=1000, b=1000)
    assert amount(draw(ledger, A, 1, 10, rate=0)) == 10
    assert amount(draw(ledger, A, 2, 10, rate=100)) == 25
    # 965 remain, one lease is live besides the new one.
    assert amount(draw(ledger, B, 1, 10, rate=10**6)) == 965 // 4
