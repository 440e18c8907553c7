"""What only the model in memory does: it forgets. All else is shown of every engine."""

import pytest
from account_family import CREW, ROOT, A, B, draw, family, give, line, path, spend
from reporting_ledger import ReportingLedger

from crewgate.core.budget.ledger_protocol import BranchesOpened, BranchPathLevel
from crewgate.errors import InvalidLedgerOperationError


def test_a_forgotten_branch_stays_charged_above() -> None:
    """Its record is gone, what it consumed is not; it may be opened anew."""
    ledger = family(ReportingLedger)
    draw(ledger, A, 1, 30)
    spend(ledger, A, 1, 12)
    give(ledger, A, 18)
    ledger.forget(A, 12)
    assert [s.key for s in ledger.report()] == [CREW, ROOT, B]
    assert (line(ledger, ROOT).settled, line(ledger, ROOT).leased) == (12, 0)
    assert isinstance(
        ledger.open(path(BranchPathLevel(ROOT, 100, 1), BranchPathLevel(A, 9, 1))), BranchesOpened
    )


def test_descendants_are_forgotten_before_their_ancestors() -> None:
    """A path never leads through a level that the ledger does not know."""
    ledger = family(ReportingLedger)
    with pytest.raises(InvalidLedgerOperationError):
        ledger.forget(ROOT, 0)
    ledger.forget(A, 0)
    ledger.forget(B, 0)
    ledger.forget(ROOT, 0)
    ledger.forget(ROOT, 0)
    assert [s.key for s in ledger.report()] == [CREW]
