"""Draws: an answer for each, at once or after a bounded wait for credit that others hold."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import msgspec
import pytest
import trio
from grant_builders import BOOT_NS, NOW, POLICY, branch_id, grant, key
from reporting_ledger import ReportingLedger

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.anomaly.minting_watch import MintingWatch
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.budget.draws import Draws
from crewgate.agent.grant_consistency_check import level_name
from crewgate.agent.ipc_server.attachments import AttachedProcess, AttachedProcesses
from crewgate.agent.main import take_leave
from crewgate.agent.revocation.types import ClockReading
from crewgate.core.budget.ledger_protocol import DrawLease, Operation, OperationResult
from crewgate.core.tokens.grant import Grant
from crewgate.errors import InvalidLedgerOperationError, ServiceConnectionError
from crewgate.ipc.attach_messages import VERSION, Attach, CreditDrawn, DrawCredit
from crewgate.leases.lease_client import NO_OTHERS, DrawResult, LeaseClient, LedgerCalls, OtherNeeds

WAIT = 0.25


class Scripted(LeaseClient):
    """A lessor that is contended until a test says otherwise, then does what lessors do."""

    def __init__(self, table: OwnedTable) -> None:
        self.ledger = ReportingLedger()
        super().__init__(table, self.ledger, POLICY, "machine")
        self.contended = False
        self.asked = 0

    def steps(
        self, grant: Grant, need: int, now: float, now_boot_ns: int, others: OtherNeeds = NO_OTHERS
    ) -> LedgerCalls:
        self.asked += 1
        status = yield from super().steps(grant, need, now, now_boot_ns, others)
        return DrawResult.CONTENDED if self.contended else status


class Slow:
    """Carries questions when a test says so; at once by itself."""

    def __init__(self, ledger: ReportingLedger) -> None:
        self.ledger = ledger
        self.waits = False
        self.unavailable_reason = ""
        self.errands: list[
            tuple[Operation, Callable[[OperationResult | InvalidLedgerOperationError], None]]
        ] = []

    def ask(
        self,
        operation: Operation,
        then: Callable[[OperationResult | InvalidLedgerOperationError], None],
    ) -> None:
        self.errands.append((operation, then))
        if not self.waits:
            self.carry()

    def carry(self) -> None:
        """Until nothing is asked any more."""
        while self.errands:
            operation, then = self.errands.pop(0)
            then(self.ledger.do(operation, NOW))


def _at(seconds: float) -> ClockReading:
    return ClockReading(wall=int(NOW), boot_ns=BOOT_NS + round(seconds * 1e9))


@pytest.fixture
def lessor(table: OwnedTable) -> Scripted:
    """Leases from a ledger in memory."""
    return Scripted(table)


@pytest.fixture
def slow(lessor: Scripted) -> Slow:
    """Who asks the ledger."""
    return Slow(lessor.ledger)


@pytest.fixture
def draws(
    table: OwnedTable,
    lessor: Scripted,
    slow: Slow,
    registry: BranchRegistry,
    watching: MintingWatch,
) -> Draws:
    """With a wait of a quarter of a second; an answer comes while the clock stands still."""
    read = lambda: _at(0)  # noqa: E731
    return Draws(table, lessor, slow, registry, watching, WAIT, read=read)


@pytest.fixture
def guest(table: OwnedTable) -> Iterator[AttachedProcess]:
    """One guest."""
    guest = AttachedProcesses(table).enter(Attach(version=VERSION))
    yield guest
    guest.leave()


def _told(guest: AttachedProcess) -> list[CreditDrawn]:
    told = []
    while True:
        try:
            message = guest.outbox.receive_nowait()
        except trio.WouldBlock:
            return told
        assert isinstance(message, CreditDrawn)
        told.append(message)


def test_a_draw_is_granted_and_its_branch_known(
    draws: Draws, guest: AttachedProcess, table: OwnedTable, registry: BranchRegistry
) -> None:
    """The answer says granted once the table has the credit."""
    draws.ask(guest, DrawCredit(id=5, grant=grant(1, 500), need=10), _at(0))
    assert _told(guest) == [CreditDrawn(id=5, status="granted")]
    record = table.branch(table.find(key(1)))
    assert record is not None
    assert record.available >= 10
    assert registry.get(key(1)) is not None


def test_an_exhausted_draw_names_the_empty_account(draws: Draws, guest: AttachedProcess) -> None:
    """The level is a branch by its UUID; used and quota come along."""
    draws.ask(guest, DrawCredit(id=1, grant=grant(2, 500, (1, 100, None)), need=200), _at(0))
    assert _told(guest) == [
        CreditDrawn(id=1, status="exhausted", level=branch_id(1), used=0, quota=100)
    ]


@pytest.mark.parametrize(("level", "name"), [(0, 3), (1, 2), (2, 1)])
def test_levels_count_upwards_from_the_branch(level: int, name: int) -> None:
    """The branch is level 0, its root the last of its path, the crew above."""
    assert level_name(grant(3, 5, (1, 9, None), (2, 8, None)), level) == branch_id(name)
    assert level_name(grant(3, 5, (1, 9, None), (2, 8, None)), 3) == "article"


def test_a_contended_draw_waits_and_is_served(
    draws: Draws, guest: AttachedProcess, lessor: Scripted
) -> None:
    """Nothing is said while it waits; it is granted as soon as credit is there."""
    lessor.contended = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
    draws.retry(_at(0.1))
    assert _told(guest) == []
    lessor.contended = False
    draws.retry(_at(0.2))
    assert _told(guest) == [CreditDrawn(id=1, status="granted")]
    assert guest.draws == 0


def test_the_wait_is_bounded(draws: Draws, guest: AttachedProcess, lessor: Scripted) -> None:
    """After a quarter of a second the answer is contended."""
    lessor.contended = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
    draws.retry(_at(WAIT - 0.01))
    assert _told(guest) == []
    draws.retry(_at(WAIT + 0.02))
    assert _told(guest) == [CreditDrawn(id=1, status="contended")]


def test_nothing_is_tried_while_nothing_changed(
    draws: Draws, guest: AttachedProcess, lessor: Scripted
) -> None:
    """Between looks the lessor is asked again only if credit came back somewhere."""
    lessor.contended = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
    draws.retry(_at(0.1))
    asked = lessor.asked
    draws.retry(_at(0.1 + limits.draw_again_seconds / 2))
    assert lessor.asked == asked
    draws.retry(_at(0.1 + limits.draw_again_seconds))
    assert lessor.asked == asked + 1


def test_a_guest_that_left_is_not_drawn_for(
    draws: Draws, guest: AttachedProcess, lessor: Scripted
) -> None:
    """Its waiting draws are forgotten."""
    lessor.contended = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
    asked = lessor.asked
    guest.leave()
    draws.retry(_at(0.1))
    assert lessor.asked == asked


def test_a_guest_cannot_queue_without_end(
    draws: Draws, guest: AttachedProcess, lessor: Scripted
) -> None:
    """Over the bound a contended draw is answered at once."""
    lessor.contended = True
    for number in range(limits.ipc_draws_max + 3):
        draws.ask(guest, DrawCredit(id=number, grant=grant(1, 500), need=10), _at(0))
    assert [each.id for each in _told(guest)] == [
        limits.ipc_draws_max + extra for extra in range(3)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"branch_key": key(9)},
        {"path_keys": (key(9),)},
        {"path_keys": ()},
        {"path_digest": bytes(16)},
        {"crew": "finance"},
        {"quota": -1},
        {"quota": 501},
    ],
)
def test_a_grant_that_contradicts_itself_is_a_broken_protocol(
    draws: Draws, guest: AttachedProcess, lessor: Scripted, change: dict[str, object]
) -> None:
    """Keys must be those of the names, credits those of the claims; nothing is opened."""
    good = grant(2, 500, (1, 900, None))
    bad = msgspec.structs.replace(good, **change)
    with pytest.raises(ServiceConnectionError, match=r"^a grant "):
        draws.ask(guest, DrawCredit(id=1, grant=bad, need=10), _at(0))
    assert lessor.asked == 0


def test_an_impossible_need_is_a_broken_protocol(draws: Draws, guest: AttachedProcess) -> None:
    """More than a lease can hold is nobody's price."""
    need = limits.price_micro_max + 1
    with pytest.raises(ServiceConnectionError, match="no call can need"):
        draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=need), _at(0))


def test_a_slow_ledger_holds_up_nobody_longer_than_the_wait(
    draws: Draws, guest: AttachedProcess, slow: Slow, table: OwnedTable
) -> None:
    """The call is told to try again; what comes later is there for the next one."""
    draws.ask(guest, DrawCredit(id=0, grant=grant(1, 500), need=5), _at(0))
    assert _told(guest) == [CreditDrawn(id=0, status="granted")]
    slow.waits = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
    draws.retry(_at(WAIT / 2))
    assert _told(guest) == []
    draws.retry(_at(WAIT))
    assert _told(guest) == [CreditDrawn(id=1, status="contended")]
    slow.carry()
    assert (_told(guest), guest.draws) == ([], 0)
    record = table.branch(table.find(key(1)))
    assert record is not None
    assert record.available == 10


def test_a_ledger_that_is_known_to_be_away_holds_up_nobody(
    draws: Draws, guest: AttachedProcess, slow: Slow, table: OwnedTable
) -> None:
    """Who waits is answered as soon as it is known, who comes then at once; both draws go on."""
    for number in (1, 2):
        draws.ask(guest, DrawCredit(id=0, grant=grant(number, 500), need=5), _at(0))
    _told(guest)
    slow.waits = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
    draws.retry(_at(0))
    assert _told(guest) == []
    slow.unavailable_reason = "the disk is full"
    draws.retry(_at(0))
    assert _told(guest) == [CreditDrawn(id=1, status="contended")]
    draws.ask(guest, DrawCredit(id=2, grant=grant(2, 500), need=10), _at(0))
    assert _told(guest) == [CreditDrawn(id=2, status="contended")]
    assert (guest.draws, len(slow.errands)) == (0, 2)
    slow.carry()
    slow.unavailable_reason = ""
    for number in (1, 2):
        record = table.branch(table.find(key(number)))
        assert record is not None
        assert record.available == 10


def test_a_lease_that_suffices_is_used_while_the_ledger_is_away(
    draws: Draws, guest: AttachedProcess, slow: Slow
) -> None:
    """What needs no ledger does not wait for it, nor is it refused."""
    draws.ask(guest, DrawCredit(id=0, grant=grant(1, 500), need=5), _at(0))
    _told(guest)
    slow.waits, slow.unavailable_reason = True, "down"
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=5), _at(0))
    assert _told(guest) == [CreditDrawn(id=1, status="granted")]


def test_one_draw_of_a_branch_is_asked_at_a_time(
    draws: Draws, guest: AttachedProcess, slow: Slow, lessor: Scripted
) -> None:
    """Those that come meanwhile are served after it, in their order."""
    slow.waits = True
    for number in range(3):
        draws.ask(guest, DrawCredit(id=number, grant=grant(1, 500), need=10 + number), _at(0))
    draws.ask(guest, DrawCredit(id=7, grant=grant(2, 500), need=10), _at(0))
    assert (len(slow.errands), lessor.asked) == (2, 2)
    slow.carry()
    assert [each.id for each in _told(guest)] == [0, 7, 1, 2]
    assert guest.draws == 0


def test_one_operation_serves_all_draws_that_wait(
    draws: Draws, guest: AttachedProcess, slow: Slow, table: OwnedTable
) -> None:
    """The first opens its branch with its own need; the next brings what all others need."""
    slow.waits = True
    for number in range(50):
        draws.ask(guest, DrawCredit(id=number, grant=grant(1, 500), need=3), _at(0))
    for granted, available in ((1, 3), (50, 150)):
        ((operation, then),) = slow.errands
        slow.errands.clear()
        then(slow.ledger.do(operation, NOW))
        record = table.branch(table.find(key(1)))
        assert record is not None
        assert record.available == available
        told = _told(guest)
        assert {each.status for each in told} == {"granted"}
        assert len(told) == granted - (granted > 1)
    assert not slow.errands


def test_a_draw_brings_what_calls_behind_it_need(draws: Draws, guest: AttachedProcess) -> None:
    """So they need no draw. A new branch gets its first need alone."""
    for need, available in ((10, 10), (15, 55)):
        draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=need, behind=40), _at(0))
        record = draws._table.branch(draws._table.find(key(1)))
        assert record is not None and record.available == available  # noqa: PT018


def test_a_guest_that_left_while_the_ledger_was_asked_is_told_nothing(
    draws: Draws, guest: AttachedProcess, slow: Slow
) -> None:
    """The credit is drawn all the same, and others of the branch get it."""
    slow.waits = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
    guest.leave()
    slow.carry()
    draws.retry(_at(WAIT))
    assert not draws._waiting


def test_a_ledger_that_refuses_is_said_and_answered(
    draws: Draws, guest: AttachedProcess, slow: Slow, log_lines: list[str]
) -> None:
    """The draw is over in the table too, so that the next try can begin."""
    draws.ask(guest, DrawCredit(id=0, grant=grant(1, 500), need=10), _at(0))
    assert _told(guest) == [CreditDrawn(id=0, status="granted")]
    slow.waits = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=20), _at(0))
    _, then = slow.errands.pop()
    then(InvalidLedgerOperationError("its old boot draws no more"))
    assert log_lines == ["the ledger refuses a draw: its old boot draws no more"]
    slow.waits = False
    draws.retry(_at(WAIT / 2))
    assert _told(guest) == [CreditDrawn(id=1, status="granted")]


def test_a_long_outage_keeps_nobody_who_has_his_answer(
    draws: Draws, guest: AttachedProcess, slow: Slow
) -> None:
    """Calls come and are told to try again for as long as the ledger is away."""
    slow.waits = True
    for number in range(50):
        at = number * 2 * WAIT
        draws.ask(guest, DrawCredit(id=number, grant=grant(1, 500), need=10), _at(at))
        draws.retry(_at(at + WAIT))
    assert [each.status for each in _told(guest)] == ["contended"] * 50
    (talk,) = draws._in_progress.values()
    assert len(talk.others) <= 1
    assert guest.draws == 0


def test_a_busy_branch_is_looked_at_before_its_lease_is_empty(
    draws: Draws, guest: AttachedProcess, lessor: Scripted, slow: Slow, table: OwnedTable
) -> None:
    """Half-way through it, as it was spent of late; a call that comes meanwhile waits for it."""
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 10**6), need=10), _at(0))
    draws.prefetch(_at(1))
    assert len(slow.errands) == 0
    holding = lessor._index.get(key(1))
    assert holding is not None
    holding.recent = 1000.0
    draws.ask(guest, DrawCredit(id=2, grant=grant(1, 10**6), need=20), _at(0))
    assert "ahead" not in repr(slow.errands)
    slow.waits = True
    table.take_back(holding.number, 900)  # behind the lessor's back, as if calls had spent it
    draws.prefetch(_at(0.001))
    assert slow.errands == []
    draws.prefetch(_at(0.2))
    ((operation, _),) = slow.errands
    assert isinstance(operation, DrawLease)
    assert operation.ahead
    draws.ask(guest, DrawCredit(id=3, grant=grant(1, 10**6), need=50), _at(0))
    assert [each.id for each in _told(guest)] == [1, 2]
    slow.carry()
    assert [each.id for each in _told(guest)] == [3]
    record = table.branch(table.find(key(1)))
    assert record is not None
    assert record.available > 50


def test_whom_nobody_waits_for_any_more_is_not_opened(
    draws: Draws,
    guest: AttachedProcess,
    slow: Slow,
    table: OwnedTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a long outage the ledger is not asked for callers that are gone; and few at once."""
    monkeypatch.setattr(limits, "draw_exchanges_max", 2)
    slow.waits = True
    for number in range(3):
        draws.ask(guest, DrawCredit(id=number, grant=grant(number, 500), need=10), _at(0))
    assert [each.id for each in _told(guest)] == [2]
    draws.retry(_at(WAIT))
    assert [each.id for each in _told(guest)] == [0, 1]
    slow.carry()
    assert table.find(key(0)) == -1
    assert slow.ledger.report(key(0))[0].leased == 0  # what was drawn for them is given back
    assert not draws._in_progress


def test_branches_that_nobody_knows_keep_no_known_one_from_a_loan(
    draws: Draws,
    guest: AttachedProcess,
    lessor: Scripted,
    slow: Slow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many openings the ledger has not answered."""
    monkeypatch.setattr(limits, "draw_exchanges_max", 4)
    lessor.overdraft.micro_max = limits.quota_micro_max
    draws.ask(guest, DrawCredit(id=0, grant=grant(1, 500), need=10), _at(0))
    slow.waits, slow.unavailable_reason = True, "down"
    for number in range(2, 8):
        draws.ask(guest, DrawCredit(id=number, grant=grant(number, 500), need=10), _at(number))
        draws.retry(_at(number + 1))
    _told(guest)
    draws.ask(guest, DrawCredit(id=99, grant=grant(1, 500), need=100), _at(60))
    assert _told(guest) == [CreditDrawn(id=99, status="granted")]


def test_a_fault_of_ours_in_a_draw_is_that_draw_s(
    draws: Draws,
    guest: AttachedProcess,
    lessor: Scripted,
    log_lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told, whoever waits asks again, and nobody else hears of it."""

    def broken(*_: object) -> None:
        raise ValueError("a lease is at most so much")

    with monkeypatch.context() as patched:
        patched.setattr(lessor._refill, "fill", broken)
        draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
        draws.ask(guest, DrawCredit(id=2, grant=grant(1, 500), need=10), _at(0))
    assert _told(guest) == []
    assert log_lines == ["internal error in a draw: ValueError('a lease is at most so much')"] * 2
    draws.retry(_at(0.1))
    assert {drawn.id: drawn.status for drawn in _told(guest)} == {1: "granted", 2: "granted"}


class QuietAfter:
    """A clerk whose ledger answers what was asked while it is waited for."""

    def __init__(self, slow: Slow) -> None:
        self._slow = slow

    async def quiet(self) -> None:
        """Until everything is answered."""
        await trio.lowlevel.checkpoint()
        self._slow.carry()


async def test_credit_that_is_being_drawn_when_the_agent_ends_is_given_back(
    draws: Draws, guest: AttachedProcess, slow: Slow, lessor: Scripted, table: OwnedTable
) -> None:
    """It comes after all else was given back, and the ledger gets it too."""
    draws.ask(guest, DrawCredit(id=0, grant=grant(1, 500), need=5), _at(0))
    slow.waits = True
    draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), _at(0))
    machine = SimpleNamespace(
        lease_client=lessor,
        ledger_queue=QuietAfter(slow),
        clock=SimpleNamespace(boot_ns=lambda: BOOT_NS),
    )
    await take_leave(machine, 0)  # type: ignore[arg-type]
    record = table.branch(table.find(key(1)))
    assert record is not None
    assert (record.granted, record.available, record.given_back) == (10, 0, 10)
