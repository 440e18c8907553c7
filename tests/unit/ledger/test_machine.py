"""A ledger under every order of messages, against sums that anybody can check; each engine."""

from dataclasses import dataclass
from pathlib import Path as File
from typing import ClassVar

import pytest
from engines import Engine, NewLedger
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from search_depth import deep

from crewgate import limits
from crewgate.core.budget.ledger_protocol import (
    BranchClosed,
    BranchesOpened,
    BranchPath,
    BranchPathLevel,
    CloseBranch,
    CrewDrawLimits,
    DrawGranted,
    DrawLease,
    DrawQueued,
    OpenBranches,
    QuotaExhausted,
    ReportLeaseUsage,
    ReturnCredit,
)

CREW, ROOT, A, B, LEAF = (name.ljust(16).encode() for name in ("crew", "root", "a", "b", "leaf"))
PATHS = {ROOT: (ROOT,), A: (ROOT, A), B: (ROOT, B), LEAF: (ROOT, A, LEAF)}
BRANCHES = st.sampled_from(sorted(PATHS))
HOLDERS = st.sampled_from(["one", "two"])
# Few enough that what is drawn is also spent, given back and told.
LESSEES = st.sampled_from([(A, "one"), (A, "two"), (LEAF, "one"), (B, "two")])
AMOUNTS = st.integers(1, 40)
WIDE = CrewDrawLimits(10**6, 10**6)
NOW = 1_800_000_000.0


@dataclass
class Lease:
    """What is true on a machine, and what of it the ledger has heard."""

    granted: int = 0
    available: int = 0
    spent: int = 0
    held: int = 0  # by calls in flight, whose price is known
    gone: int = 0  # with processes that died
    given: int = 0
    heard_given: int = 0
    heard_spent: int = 0
    heard_held: int = 0
    heard_gone: int = 0
    heard_report: int = -1
    lost: int = 0  # written off when its boot was over, or it was silent
    void: int = 0  # came back of that, too late
    forgiven: int = 0  # on an operator's word, and not told since to be there after all
    mercy: int = 0  # all that ever was
    last: tuple[DrawLease, DrawGranted | DrawQueued | QuotaExhausted] | None = None

    @property
    def out(self) -> int:
        return self.granted - self.heard_given

    @property
    def charged(self) -> int:
        return self.out - self.forgiven

    @property
    def missing(self) -> int:
        spent = min(self.heard_spent, self.out)
        return min(self.out - spent, max(self.heard_gone, self.void, self.silent - self.heard_held))

    @property
    def silent(self) -> int:
        """Written off, and not told since to be spent."""
        return max(0, self.lost - min(self.heard_spent, self.out))

    @property
    def settled(self) -> int:
        return min(self.heard_spent, self.charged)

    @property
    def burned(self) -> int:
        return min(self.charged - self.settled, max(0, self.missing - self.forgiven))

    @property
    def reserved(self) -> int:
        return min(self.heard_held, self.charged - self.settled - self.burned)

    @property
    def idle(self) -> int:
        return self.charged - self.settled - self.burned - self.reserved

    def write_off(self) -> None:
        self.lost = self.out
        self.heard_held = 0

    def die(self) -> None:
        self.write_off()
        self.available = self.held = 0

    def forgive(self) -> int:
        burned = self.burned
        self.forgiven += burned
        self.mercy += burned
        return burned

    def hear_given(self, total: int) -> None:
        """Void as long as there is something written off, whatever is said later to be spent."""
        written_off = max(0, self.silent - self.void)
        for _ in range(total - self.heard_given - self.void):
            if written_off:
                written_off -= 1
                self.void += 1
            else:
                self.heard_given += 1
        self.forgiven = min(self.forgiven, self.out)

    def hear_settle(self, told: ReportLeaseUsage) -> None:
        """Who tells that it is not lost is believed, whatever an operator said."""
        if told.seq > self.heard_report:
            self.heard_report, self.heard_spent = told.seq, told.spent
            self.heard_held, self.heard_gone = told.reserved, told.burned
            self.forgiven = min(self.forgiven, self.missing)


class Machines(RuleBasedStateMachine):
    """Two machines draw for a small tree; their messages are late, doubled and out of order."""

    new_ledger: ClassVar[NewLedger]

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.new_ledger()
        self.quota = dict.fromkeys(PATHS, 0)
        self.iat = 1
        self.leases: dict[tuple[bytes, str, int], Lease] = {}
        self.boot = {"one": 0, "two": 0}
        self.seq = 0
        self.report = 0
        self.messages: list[tuple[tuple[bytes, str, int], ReturnCredit | ReportLeaseUsage]] = []
        self.closed: set[bytes] = set()
        self.now = NOW
        for branch, quota in ((ROOT, 100), (A, 60), (B, 100), (LEAF, 100)):
            self.quota[branch] = quota
        self.open_all()

    def open_all(self) -> None:
        for levels in PATHS.values():
            path = BranchPath(
                CREW, WIDE, tuple(BranchPathLevel(k, self.quota[k], self.iat) for k in levels)
            )
            self.ledger.do(OpenBranches(path, "one", self.boot_name("one")), 0.0)

    def lease(self, branch: bytes, holder: str) -> Lease:
        return self.leases.setdefault((branch, holder, self.boot[holder]), Lease())

    def boot_name(self, holder: str) -> bytes:
        return f"{holder} {self.boot[holder]}".encode()

    def below(self, level: bytes) -> list[Lease]:
        return [
            lease
            for (branch, _, _), lease in self.leases.items()
            if level == CREW or level in PATHS[branch]
        ]

    def is_closed(self, branch: bytes) -> bool:
        return any(level in self.closed for level in PATHS[branch])

    @rule(lessee=LESSEES, need=AMOUNTS, rate=st.integers(0, 400), ahead=st.booleans())
    def draw(self, lessee: tuple[bytes, str], need: int, rate: int, ahead: bool = False) -> None:
        branch, holder = lessee
        self.seq += 1
        draw = DrawLease(branch, holder, self.boot_name(holder), self.seq, need, rate, ahead)
        answer = self.ledger.do(draw, self.now)
        lease = self.lease(branch, holder)
        if self.is_closed(branch):
            assert isinstance(answer, BranchClosed)
            return
        assert not isinstance(answer, BranchClosed)
        lease.last = draw, answer
        if isinstance(answer, DrawGranted):
            assert answer.amount >= need
            assert answer.amount <= max(need, rate // limits.lease_rate_divisor)
            lease.granted += answer.amount
            lease.available += answer.amount
        elif isinstance(answer, QuotaExhausted):
            assert not ahead
            self.check_exhausted(answer, lease, need)

    def check_exhausted(self, answer: QuotaExhausted, own: Lease, need: int) -> None:
        """As far as the ledger was told, the level cannot pay even if all others give back."""
        cap = self.quota.get(answer.level, limits.quota_micro_max)
        below = self.below(answer.level)
        kept = sum(lease.charged - (0 if lease is own else lease.idle) for lease in below)
        assert cap - kept < need

    @precondition(lambda self: any(lease.last for lease in self.leases.values()))
    @rule(data=st.data())
    def resend_draw(self, data: st.DataObject) -> None:
        """A reply was lost: the same question gets the same answer, whatever happened since."""
        sent = [lease.last for lease in self.leases.values() if lease.last is not None]
        draw, answer = data.draw(st.sampled_from(sent))
        assert self.ledger.do(draw, self.now) == answer

    @rule(
        lessee=LESSEES,
        spent=st.integers(0, 20),
        given=st.integers(0, 10),
        held=st.integers(0, 5),
        seldom=st.sampled_from([(0, 0), (0, 0), (0, 0), (4, 0), (0, 4)]),
    )
    def work(
        self, lessee: tuple[bytes, str], spent: int, given: int, held: int, seldom: tuple[int, int]
    ) -> None:
        """Spend of the lease, give some of it back, and say so some time.

        Calls that were in flight are released. Seldom a process dies with some of the lease, or
        what is there is mistaken for lost.
        """
        branch, holder = lessee
        lease = self.lease(branch, holder)
        left = lease.available + lease.held
        spent, left = min(spent, left), left - min(spent, left)
        gone, left = min(seldom[0], left), left - min(seldom[0], left)
        given, left = min(given, left), left - min(given, left)
        lease.held = min(held, left)
        lease.available = left - lease.held
        lease.spent += spent
        lease.gone += gone
        lease.given += given
        told = lease.gone + min(seldom[1], lease.available)
        self.report += 1
        name, boot = (branch, holder, self.boot[holder]), self.boot_name(holder)
        self.messages.append((name, ReturnCredit(branch, holder, boot, lease.given)))
        report = ReportLeaseUsage(branch, holder, boot, self.report, lease.spent, lease.held, told)
        self.messages.append((name, report))

    @rule(lessee=LESSEES, amount=AMOUNTS)
    def refund(self, lessee: tuple[bytes, str], amount: int) -> None:
        """An embedded permit that was charged already is released."""
        lease = self.lease(*lessee)
        amount = min(amount, lease.spent)
        lease.spent -= amount
        lease.available += amount

    @precondition(lambda self: self.messages)
    @rule(order=st.lists(st.integers(0, 99), min_size=1, max_size=4), again=st.booleans())
    def deliver(self, order: list[int], again: bool) -> None:
        """Any messages, the newest as likely as old ones, once or more often."""
        for at in order:
            name, message = self.messages[-1 - at % len(self.messages)]
            self.hear(self.leases[name], message)
        if not again:
            self.messages.clear()

    def hear(self, lease: Lease, message: ReturnCredit | ReportLeaseUsage) -> None:
        if isinstance(message, ReturnCredit):
            self.ledger.do(message, 0.0)
            lease.hear_given(message.amount)
            return
        self.ledger.do(message, 0.0)
        lease.hear_settle(message)

    @rule(chance=st.integers(0, 5), holder=HOLDERS, silence=st.booleans())
    def disaster(self, chance: int, holder: str, silence: bool) -> None:
        """Seldom, or there would be no credit left to be wrong about."""
        if chance < 5:
            return
        if silence:
            self.everybody_is_silent()
        else:
            self.new_boot(holder)

    def new_boot(self, holder: str) -> None:
        """The machine crashed: its table, and all that it had leased, is gone."""
        for (_, name, boot), lease in self.leases.items():
            if name == holder and boot == self.boot[holder]:
                lease.die()
        self.boot[holder] += 1
        self.draw((ROOT, holder), 1, 0)

    def everybody_is_silent(self) -> None:
        for holder, (boot, beat) in self.ledger.heartbeats().items():
            self.ledger.burn(holder, boot, beat)
        for (_, holder, boot), lease in self.leases.items():
            if boot == self.boot[holder]:
                lease.write_off()

    @rule(branch=st.sampled_from([A, LEAF, B]), chance=st.integers(0, 2))
    def forgive(self, branch: bytes, chance: int) -> None:
        """Whether those who had it are dead, or only silent."""
        if chance < 2:
            return
        own = [lease for (name, _, _), lease in self.leases.items() if name == branch]
        assert self.ledger.forgive(branch) == sum(lease.forgive() for lease in own)

    @rule(seconds=st.sampled_from([0.1, 1.0, -3600.0, 3600.0]))
    def clock(self, seconds: float) -> None:
        self.now += seconds

    @rule(branch=st.sampled_from([A, LEAF]), chance=st.integers(0, 5))
    def close(self, branch: bytes, chance: int) -> None:
        if chance < 5:
            return
        self.ledger.do(CloseBranch(branch), 0.0)
        self.closed.add(branch)

    @rule(branch=BRANCHES, quota=st.integers(60, 150))
    def raise_quota(self, branch: bytes, quota: int) -> None:
        """Only upwards, so that `spent <= quota` stays a law; lowering has its own tests."""
        if self.is_closed(branch) or quota <= self.quota[branch]:
            return
        self.iat += 1
        self.quota[branch] = quota
        levels = tuple(BranchPathLevel(k, self.quota[k], self.iat) for k in PATHS[branch])
        path = BranchPath(CREW, WIDE, levels)
        assert isinstance(
            self.ledger.do(OpenBranches(path, "one", self.boot_name("one")), 0.0), BranchesOpened
        )

    @invariant()
    def every_level_adds_up(self) -> None:
        for line in self.ledger.report():
            below = self.below(line.key)
            assert line.settled == sum(lease.settled for lease in below)
            assert line.burned == sum(lease.burned for lease in below)
            assert line.reserved == sum(lease.reserved for lease in below)
            assert line.leased == sum(lease.idle for lease in below)
            total = line.settled + line.reserved + line.leased + line.burned + line.remaining
            assert total == line.quota
            assert line.remaining >= -sum(lease.mercy for lease in below)

    @invariant()
    def nobody_overspends(self) -> None:
        """By the machines' own books, whatever the ledger has heard of them.

        But for what an operator said was lost.
        """
        for level, quota in self.quota.items():
            below = self.below(level)
            spent = sum(lease.spent + lease.held + lease.available for lease in below)
            assert spent <= quota + sum(lease.mercy for lease in below)

    def teardown(self) -> None:
        """Once quiet: all idle credit was given back, and no level refuses what it still has.

        What was spent is charged, whatever was forgiven before it was told.
        """
        for _, lease in sorted(self.leases.items()):
            lease.given += lease.available + lease.held
            lease.available = lease.held = 0
        for (branch, holder, boot), lease in sorted(self.leases.items()):
            self.report += 1
            name = f"{holder} {boot}".encode()
            given = min(lease.given, lease.granted)
            self.hear(lease, ReturnCredit(branch, holder, name, given))
            told = ReportLeaseUsage(
                branch, holder, name, self.report, lease.spent, burned=lease.gone
            )
            self.hear(lease, told)
            assert lease.settled == lease.spent
        self.every_level_adds_up()
        self.now += 1
        remaining = {line.key: line.remaining for line in self.ledger.report()}
        for branch, levels in sorted(PATHS.items()):
            left = min(remaining[level] for level in levels)
            if self.is_closed(branch) or left <= 0:
                continue
            self.seq += 1
            draw = DrawLease(branch, "one", self.boot_name("one"), self.seq, left)
            assert isinstance(self.ledger.do(draw, self.now), DrawGranted)
            for level in levels:
                remaining[level] -= left


@pytest.mark.parametrize(
    ("kind", "examples"), [("memory", deep(100)), ("sqlite", deep(40)), ("postgresql", deep(25))]
)
def test_every_order_of_messages(kind: str, examples: int, tmp_path: File) -> None:
    """The sums hold in all of them; one engine is slower than another."""
    engine = Engine(tmp_path, kind)

    class OnEngine(Machines):
        new_ledger = engine

    try:
        run_state_machine_as_test(
            OnEngine,
            settings=settings(max_examples=examples, stateful_step_count=50, deadline=None),
        )
    finally:
        engine.close()
