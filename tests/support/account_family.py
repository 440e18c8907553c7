"""A small family of accounts for tests of a ledger: a crew, a root, and two branches below it."""

from engines import AnyLedger, NewLedger

from crewgate.core.budget.ledger_protocol import (
    AccountStatement,
    BranchClosed,
    BranchesOpened,
    BranchPath,
    BranchPathLevel,
    CrewDrawLimits,
    DrawGranted,
    DrawLease,
    DrawQueued,
    OpenBranches,
    QuotaExhausted,
    ReportLeaseUsage,
    ReturnCredit,
)

CREW, ROOT, A, B = (name.ljust(16).encode() for name in ("crew", "root", "a", "b"))
BOOT, NEXT_BOOT = b"boot" * 4, b"next" * 4
NOW = 1_800_000_000.0


def path(*levels: BranchPathLevel, hourly: int = 10**9, daily: int = 10**9) -> OpenBranches:
    return OpenBranches(BranchPath(CREW, CrewDrawLimits(hourly, daily), levels), "one", BOOT)


def family(
    new_ledger: NewLedger, root: int = 100, a: int = 100, b: int = 100, **allowance: int
) -> AnyLedger:
    """A ledger that knows two branches under one root."""
    ledger = new_ledger()
    for child, quota in ((A, a), (B, b)):
        levels = BranchPathLevel(ROOT, root, 1), BranchPathLevel(child, quota, 1)
        assert isinstance(ledger.do(path(*levels, **allowance), 0.0), BranchesOpened)
    return ledger


def draw(  # noqa: PLR0913 - what a draw is made of
    ledger: AnyLedger,
    branch: bytes,
    seq: int,
    need: int,
    *,
    rate: int = 0,
    now: float = NOW,
    holder: str = "one",
    boot: bytes = BOOT,
    loose: int = 0,
) -> DrawGranted | DrawQueued | QuotaExhausted | BranchClosed:
    return ledger.do(DrawLease(branch, holder, boot, seq, need, rate, loose=loose), now)


def amount(answer: object) -> int:
    assert isinstance(answer, DrawGranted)
    return answer.amount


def give(ledger: AnyLedger, branch: bytes, total: int, holder: str = "one") -> None:
    ledger.do(ReturnCredit(branch, holder, BOOT, total), 0.0)


def spend(ledger: AnyLedger, branch: bytes, seq: int, total: int, holder: str = "one") -> None:
    ledger.do(ReportLeaseUsage(branch, holder, BOOT, seq, total), 0.0)


def line(ledger: AnyLedger, key: bytes) -> AccountStatement:
    return ledger.report(key)[0]
