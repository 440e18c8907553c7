"""The clerk: order, answers, one errand for what is said in totals, and a ledger that is away."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio
from account_family import BOOT, NOW, ROOT, A, B, family, line
from trio.testing import MockClock, wait_all_tasks_blocked

from crewgate import limits
from crewgate.core.budget.ledger_protocol import (
    BranchClosed,
    CloseBranch,
    DrawGranted,
    DrawLease,
    Operation,
    OperationResult,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.errors import InvalidLedgerOperationError, LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.operation_queue import LedgerQueue
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sqlite_session import SQLiteSession


class Fragile(SQLLedger):
    """Away or busy for as long as a test says; remembers what each transaction held."""

    away = 0
    batches: list[list[Operation]]
    busy: threading.Lock  # while a test holds it, each transaction waits

    def do_all(
        self, operations: Sequence[Operation], now: float
    ) -> list[OperationResult | InvalidLedgerOperationError]:
        if self.away:
            self.away -= 1
            raise LedgerUnavailableError("the disk is full")
        self.batches.append(list(operations))
        with self.busy:
            return super().do_all(operations, now)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Fragile]:
    """A family in a file."""
    session = SQLiteSession(tmp_path / "ledger.db")
    schema.migrate(session)
    family(lambda: SQLLedger(session))
    ledger = Fragile(session)
    ledger.batches = []
    ledger.busy = threading.Lock()
    yield ledger
    session.close()


@pytest.fixture
def clerk(ledger: Fragile) -> LedgerQueue:
    return LedgerQueue(ledger, lambda: NOW)


async def test_answers_come_in_order_and_in_few_transactions(
    clerk: LedgerQueue, ledger: Fragile, nursery: trio.Nursery
) -> None:
    """What is asked while a transaction is under way goes into the next one together."""
    answers: list[object] = []
    with ledger.busy:
        nursery.start_soon(clerk.run)
        clerk.ask(DrawLease(A, "one", BOOT, 1, 60), answers.append)
        await wait_all_tasks_blocked()
        for operation in (
            ReportLeaseUsage(A, "one", BOOT, 1, 10),
            ReturnCredit(A, "one", BOOT, 50),
            CloseBranch(B),
        ):
            clerk.submit(operation)
        clerk.ask(DrawLease(B, "one", BOOT, 1, 1), answers.append)
        clerk.ask(DrawLease(A, "one", BOOT, 2, 90), answers.append)
    with trio.fail_after(30):
        await clerk.quiet()
    assert [type(each) for each in answers] == [DrawGranted, BranchClosed, DrawGranted]
    assert len(ledger.batches) == 2
    assert (line(ledger, ROOT).settled, line(ledger, ROOT).leased) == (10, 90)


async def test_of_totals_only_the_newest_is_carried(
    clerk: LedgerQueue, ledger: Fragile, nursery: trio.Nursery
) -> None:
    """However often a lease is told of while the ledger is busy, it is one errand."""
    ledger.do(DrawLease(A, "one", BOOT, 1, 60), NOW)
    ledger.batches.clear()
    for number in range(1, 500):
        clerk.submit(ReportLeaseUsage(A, "one", BOOT, number, number // 10))
        clerk.submit(ReturnCredit(A, "one", BOOT, number // 100))
    nursery.start_soon(clerk.run)
    with trio.fail_after(30):
        await clerk.quiet()
    assert ledger.batches == [
        [ReportLeaseUsage(A, "one", BOOT, 499, 49), ReturnCredit(A, "one", BOOT, 4)]
    ]


async def test_a_ledger_that_is_away_is_asked_until_it_answers(
    clerk: LedgerQueue,
    ledger: Fragile,
    log_lines: list[str],
    nursery: trio.Nursery,
    mock_clock: MockClock,
) -> None:
    """Nothing is lost and nothing done twice; its going and coming are said once each."""
    ledger.away = 5
    answers: list[object] = []
    mock_clock.autojump_threshold = 0.1
    nursery.start_soon(clerk.run)
    clerk.ask(DrawLease(A, "one", BOOT, 1, 60), answers.append)
    await clerk.quiet()
    assert [type(each) for each in answers] == [DrawGranted]
    assert clerk.unavailable_reason == ""
    assert log_lines == [
        "the ledger does not answer: the disk is full; calls continue while their leases last",
        "the ledger answers again",
    ]
    assert trio.current_time() < 10 * limits.ledger_again_seconds_max


async def test_a_ledger_that_takes_long_counts_as_away_until_it_answers(
    clerk: LedgerQueue,
    ledger: Fragile,
    nursery: trio.Nursery,
    mock_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that hangs, or a file that another process writes to, says nothing of itself."""
    do_all, go_on = ledger.do_all, threading.Event()

    def hang(
        operations: Sequence[Operation], now: float
    ) -> list[OperationResult | InvalidLedgerOperationError]:
        assert go_on.wait(60)
        return do_all(operations, now)

    monkeypatch.setattr(ledger, "do_all", hang)
    clerk.ask(DrawLease(A, "one", BOOT, 1, 10), lambda _: None)
    assert clerk.unavailable_reason == ""
    nursery.start_soon(clerk.run)
    await wait_all_tasks_blocked()
    assert clerk.unavailable_reason == ""
    mock_clock.jump(limits.credit_wait_seconds)  # one wait of a call
    assert clerk.unavailable_reason == ""
    mock_clock.jump(2 * limits.ledger_patience_seconds - limits.credit_wait_seconds)
    assert clerk.unavailable_reason == f"no answer for {2 * limits.ledger_patience_seconds:.1f} s"
    go_on.set()
    await clerk.quiet()
    assert clerk.unavailable_reason == ""


async def test_what_the_ledger_refuses_is_the_answer_or_is_said(
    clerk: LedgerQueue, log_lines: list[str], nursery: trio.Nursery
) -> None:
    """An error of one errand is nobody else's."""
    answers: list[object] = []
    nursery.start_soon(clerk.run)
    clerk.ask(DrawLease(b"nobody".ljust(16), "one", BOOT, 1, 1), answers.append)
    clerk.ask(DrawLease(A, "one", BOOT, 1, 1), answers.append)
    clerk.submit(ReturnCredit(A, "one", BOOT, 99))
    with trio.fail_after(30):
        await clerk.quiet()
    assert [type(each) for each in answers] == [InvalidLedgerOperationError, DrawGranted]
    refusal = "the holder gave back more than the ledger granted: 99 of 1 micro-credits"
    assert log_lines == [f"the ledger refused ReturnCredit: {refusal}"]


async def test_a_flood_is_carried_in_bounded_transactions(
    clerk: LedgerQueue, ledger: Fragile, nursery: trio.Nursery
) -> None:
    """No transaction grows with what is waiting."""
    for seq in range(3 * limits.ledger_batch_max):
        clerk.ask(DrawLease(A, "one", BOOT, seq + 1, 1), lambda _: None)
    nursery.start_soon(clerk.run)
    with trio.fail_after(60):
        await clerk.quiet()
    assert [len(batch) for batch in ledger.batches] == [limits.ledger_batch_max] * 3


async def test_an_error_of_ours_spoils_one_errand(
    clerk: LedgerQueue, ledger: Fragile, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: the others are done, and the agent lives."""
    do_all = ledger.do_all

    def fail(
        operations: Sequence[Operation], now: float
    ) -> list[OperationResult | InvalidLedgerOperationError]:
        if any(isinstance(each, DrawLease) and each.need == 13 for each in operations):
            raise KeyError("a level that is not there")
        return do_all(operations, now)

    monkeypatch.setattr(ledger, "do_all", fail)
    answers: list[object] = []
    clerk.ask(DrawLease(A, "one", BOOT, 1, 10), answers.append)
    clerk.ask(DrawLease(B, "one", BOOT, 1, 13), answers.append)
    clerk.ask(DrawLease(A, "one", BOOT, 2, 10), answers.append)
    nursery.start_soon(clerk.run)
    with trio.fail_after(30):
        await clerk.quiet()
    assert [type(each) for each in answers] == [
        DrawGranted,
        InvalidLedgerOperationError,
        DrawGranted,
    ]


async def test_who_fails_at_an_answer_keeps_nobody_from_his(
    clerk: LedgerQueue, log_lines: list[str], nursery: trio.Nursery
) -> None:
    """The fault is told."""
    answers: list[object] = []

    def fail(_: object) -> None:
        raise ValueError("no room")

    clerk.ask(DrawLease(A, "one", BOOT, 1, 10), fail)
    clerk.ask(DrawLease(B, "one", BOOT, 1, 10), answers.append)
    nursery.start_soon(clerk.run)
    with trio.fail_after(30):
        await clerk.quiet()
    assert [type(each) for each in answers] == [DrawGranted]
    assert log_lines == ["internal error with an answer of the ledger: ValueError('no room')"]


async def test_a_draw_does_not_wait_for_a_storm_of_ends(
    clerk: LedgerQueue, ledger: Fragile, nursery: trio.Nursery
) -> None:
    """Of ends beyond one transaction a quarter of each next one; none is lost."""
    keys = [bytes(12) + number.to_bytes(4) for number in range(1, 3001)]
    for key in keys:
        clerk.submit(CloseBranch(key))
    answers: list[object] = []
    clerk.ask(DrawLease(A, "one", BOOT, 1, 60), answers.append)
    nursery.start_soon(clerk.run)
    await clerk.quiet()
    assert answers
    assert any(isinstance(each, DrawLease) for batch in ledger.batches[:2] for each in batch)
    closed = [
        each.key for batch in ledger.batches for each in batch if isinstance(each, CloseBranch)
    ]
    assert sorted(closed) == keys
    assert max(map(len, ledger.batches)) <= limits.ledger_batch_max
