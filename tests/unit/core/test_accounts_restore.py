import pytest
from family import (
    BOOT,
    CREW,
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

from crewgate.core.accounts import MemoryLedger
from crewgate.core.ledger import (
    Level,
    Opened,
    Restored,
)
from crewgate.errors import LedgerError


def restored(key: bytes, above: tuple[bytes, ...], **known: int) -> Restored:
    facts = {"quota": 100, "granted": 0, "given_back": 0, "spent": 0, "reserved": 0, "burned": 0}
    facts |= {"retired": 0, "seq": 0, **known}
    return Restored(key, above, iat=1, closed=False, **facts)


def test_a_ledger_is_restored_from_what_a_table_holds() -> None:
    """Consumption of live and of reclaimed branches stays charged on every level."""
    ledger = MemoryLedger()
    ledger.restore(
        "one",
        BOOT,
        [
            restored(CREW, (), retired=7),
            restored(ROOT, (CREW,), retired=7, granted=10, spent=4, given_back=2, seq=3),
            restored(A, (CREW, ROOT), granted=20, spent=15, reserved=2, burned=1, seq=5),
        ],
    )
    root = line(ledger, ROOT)
    assert (root.settled, root.reserved, root.burned, root.leased) == (7 + 4 + 15, 2, 1, 4 + 2)
    assert root.remaining == 100 - 7 - 8 - 20
    assert line(ledger, CREW).settled == 26
    with pytest.raises(LedgerError, match="answered"):
        draw(ledger, A, 5, 1)
    assert amount(draw(ledger, A, 6, 1)) == 1


def test_a_ledger_that_has_begun_is_not_restored() -> None:
    """Credit that was granted since must not be forgotten."""
    with pytest.raises(LedgerError):
        family(MemoryLedger).restore("one", BOOT, [])


def test_a_forgotten_branch_stays_charged_above() -> None:
    """Its record is gone, what it consumed is not; it may be opened anew."""
    ledger = family(MemoryLedger)
    draw(ledger, A, 1, 30)
    spend(ledger, A, 1, 12)
    give(ledger, A, 18)
    ledger.forget(A, 12)
    assert [s.key for s in ledger.report()] == [CREW, ROOT, B]
    assert (line(ledger, ROOT).settled, line(ledger, ROOT).leased) == (12, 0)
    assert isinstance(ledger.open(path(Level(ROOT, 100, 1), Level(A, 9, 1))), Opened)


def test_descendants_are_forgotten_before_their_ancestors() -> None:
    """A path never leads through a level that the ledger does not know."""
    ledger = family(MemoryLedger)
    with pytest.raises(LedgerError):
        ledger.forget(ROOT, 0)
    ledger.forget(A, 0)
    ledger.forget(B, 0)
    ledger.forget(ROOT, 0)
    ledger.forget(ROOT, 0)
    assert [s.key for s in ledger.report()] == [CREW]
