"""One machine under any order of calls, kills of its agent, closings and refunds.

No cap is passed, and once it is quiet no credit is refused that is there.
"""

from collections.abc import Callable

from grant_builders import NOW, grant, key
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lease_world import GEOMETRY, Machine, ModelGate
from search_depth import deep
from table_model import TableModel

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.core import ids
from crewgate.core.tokens.grant import Grant
from crewgate.leases.lease_client import DrawResult

ROOT = (10, 100, int(NOW))
PARENT = (11, 60, int(NOW))
QUOTAS = {10: 100, 11: 60, 0: 50, 1: 60, 2: 90, 3: 30}
PATHS = {0: (ROOT, PARENT), 1: (ROOT, PARENT), 2: (ROOT,), 3: (ROOT, PARENT)}
GRANTS = st.sampled_from([grant(n, QUOTAS[n], *above) for n, above in PATHS.items()])
OWNERS_ACTS = (
    "open_branch", "amend", "close_branch", "begin_draw", "grant", "refuse", "take_back",
    "overdraw", "set_lent",
)  # fmt: skip


class KilledError(Exception):
    """The agent's process ends here."""


class FragileTable(TableModel):
    """The agent is killed before or after the so-manieth act from now."""

    def __init__(self) -> None:
        super().__init__(GEOMETRY)
        self.acts_left: int | None = None
        self.before = False

    def __getattribute__(self, name: str) -> object:
        value = super().__getattribute__(name)
        if name in OWNERS_ACTS and self.acts_left is not None:
            return self.fragile(value)
        return value

    def fragile(self, act: Callable[..., object]) -> Callable[..., object]:
        def acting(*arguments: object) -> object:
            assert self.acts_left is not None
            self.acts_left -= 1
            if self.acts_left < 0 and self.before:
                raise KilledError
            result = act(*arguments)
            if self.acts_left < 0:
                raise KilledError
            return result

        return acting


class Agents(RuleBasedStateMachine):
    """Whatever needs no kill between two acts; `native` is the native table, gate and tokens."""

    native = False

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(native=self.native)
        self.machine.step_ns = 3 * 10**7
        self.held: list[tuple[Grant, object, int]] = []
        self.charged: list[tuple[Grant, object]] = []
        self.closed: set[bytes] = set()

    @rule()
    def restart(self) -> None:
        self.machine.start()

    @rule(of=GRANTS, price=st.integers(1, 9))
    def call_and_settle(self, of: Grant, price: int) -> None:
        self.machine.call(of, price)

    @rule(of=GRANTS, price=st.integers(1, 9), loose=st.booleans())
    def hold(self, of: Grant, price: int, loose: bool) -> None:
        slot = self.machine.reserve(of, price, loose=loose)
        if slot is not None:
            self.held.append((of, slot, price))

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 99), more=st.integers(1, 9))
    def grow(self, at: int, more: int) -> None:
        """A stream goes on for as long as its lease has credit, or more can be drawn."""
        of, slot, price = self.held[at % len(self.held)]
        if self.machine.gate.grow(of, slot, more) or (
            self.machine.draw(of, more) is DrawResult.GRANTED
            and self.machine.gate.grow(of, slot, more)
        ):
            self.held[at % len(self.held)] = of, slot, price + more

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 99), share=st.sampled_from([0.0, 0.5, 1.0]))
    def end(self, at: int, share: float) -> None:
        of, slot, price = self.held.pop(at % len(self.held))
        self.machine.gate.settle(of, slot, int(price * share))

    @rule(of=GRANTS, price=st.integers(1, 9))
    def charge(self, of: Grant, price: int) -> None:
        charged = self.machine.charge(of, price)
        if charged is not None:
            self.charged.append((of, charged))

    @precondition(lambda self: self.charged)
    @rule(at=st.integers(0, 99))
    def undo(self, at: int) -> None:
        of, charged = self.charged.pop(at % len(self.charged))
        self.machine.gate.undo(of, charged)

    @rule(of=GRANTS, price=st.integers(1, 9), really=st.integers(0, 9))
    def lose(self, of: Grant, price: int, really: int) -> None:
        """Seldom: what is burned is gone for good."""
        if really == 9 and self.machine.draw(of, price) is DrawResult.GRANTED:
            self.machine.gate.lose(of, price, self.machine.now, self.machine.boot_ns)

    @rule(seconds=st.sampled_from([1.0, limits.lease_idle_seconds]))
    def look(self, seconds: float) -> None:
        self.machine.look(seconds=seconds)

    @rule(really=st.integers(0, 9))
    def close(self, really: int) -> None:
        if really == 9 and self.machine.table.find(key(3)) >= 0:
            self.machine.lessor.close(key(3))
            self.closed.add(key(3))

    def records(self) -> dict[bytes, BranchRecord]:
        return {record.key: record for record in self.machine.table.scan(0, 64)}

    def below(self, name: bytes) -> list[BranchRecord]:
        """Records at and below a level; none if it was never opened."""
        records = self.records()
        if name not in records:
            return []
        number = records[name].number
        return [r for r in records.values() if number in (*r.parents, r.number)]

    @invariant()
    def no_cap_is_passed(self) -> None:
        """Leased and not given back, on every level; spend is part of it."""
        for n, quota in QUOTAS.items():
            below = self.below(key(n))
            assert sum(r.granted - r.given_back for r in below) <= quota
            assert all(r.settled + r.reserved <= r.granted - r.given_back for r in below)

    @invariant()
    def ledger_and_table_agree(self) -> None:
        """What the ledger has charged is what the table was granted and did not give back."""
        lines = {line.key: line for line in self.machine.ledger.report()}
        for name in self.records():
            line = lines[name]
            charged = sum(r.granted - r.given_back for r in self.below(name))
            assert line.quota - line.remaining == charged
            assert line.settled + line.reserved + line.burned + line.leased == charged

    def left(self, n: int, *, at_best: bool = False) -> int:
        """What the branch may still spend: the least over its levels of quota less consumption.

        `at_best`: if of all that is held as an upper bound nothing were spent.
        """
        levels = (*(ancestor for ancestor, _, _ in PATHS[n]), n)
        return min(
            QUOTAS[level]
            - sum(
                r.granted - r.given_back - r.available - (r.loose if at_best else 0)
                for r in self.below(key(level))
            )
            for level in levels
        )

    def teardown(self) -> None:
        """Every branch is refused just above what is left, and served exactly that.

        What calls in flight may give back is waited for: no call is refused for that.
        """
        self.machine.now += 1  # who was told to come again, and did not, has lost its place
        for n, above in PATHS.items():
            of = grant(n, QUOTAS[n], *above)
            if of.branch_key in self.closed:
                assert self.machine.draw(of, 1) is DrawResult.CLOSED
                continue
            left = self.left(n)
            most = self.left(n, at_best=True)
            if most > left:
                assert self.machine.draw(of, left + 1) is DrawResult.CONTENDED
                assert self.machine.refused(of) is None
            assert self.machine.draw(of, most + 1) is DrawResult.EXHAUSTED
            self.check_refusal(of, most)
            assert self.machine.draw(of, left) is DrawResult.GRANTED
            assert left == 0 or self.machine.call(of, left)
        self.no_cap_is_passed()
        for of, slot, price in self.held:
            self.machine.gate.settle(of, slot, price)

    def check_refusal(self, of: Grant, left: int) -> None:
        """The refusal names a level whose quota and use explain it."""
        refused = self.machine.refused(of)
        assert refused is not None
        need, level, used, quota = refused
        upwards = (of.branch_key, *reversed(of.path_keys), ids.crew_key("article"))
        named = next(n for n in QUOTAS if key(n) == upwards[level])
        assert (need, quota, quota - used) == (left + 1, QUOTAS[named], left)


class NativeAgents(Agents):
    native = True


class FragileAgents(Agents):
    """The same with kills; a call that a kill ended counts as never made."""

    def __init__(self) -> None:
        super().__init__()
        self.table = FragileTable()
        self.machine.table = self.table
        self.machine.gate = ModelGate(self.table)
        self.machine.start()

    @rule(acts=st.integers(0, 12), before=st.booleans())
    def plan_a_kill(self, acts: int, before: bool) -> None:
        self.table.acts_left, self.table.before = acts, before

    def acting(self, act: Callable[[], None]) -> None:
        """What the agent does; when it is killed meanwhile, a new one takes up the table."""
        try:
            act()
        except KilledError:
            self.restart()

    def restart(self) -> None:
        self.table.acts_left = None
        super().restart()

    @rule(of=GRANTS, price=st.integers(1, 9))
    def call_and_settle(self, of: Grant, price: int) -> None:
        self.acting(lambda: super(FragileAgents, self).call_and_settle(of, price))

    @rule(of=GRANTS, price=st.integers(1, 9), loose=st.booleans())
    def hold(self, of: Grant, price: int, loose: bool) -> None:
        self.acting(lambda: super(FragileAgents, self).hold(of, price, loose))

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 99), more=st.integers(1, 9))
    def grow(self, at: int, more: int) -> None:
        self.acting(lambda: super(FragileAgents, self).grow(at, more))

    @rule(of=GRANTS, price=st.integers(1, 9))
    def charge(self, of: Grant, price: int) -> None:
        self.acting(lambda: super(FragileAgents, self).charge(of, price))

    @rule(of=GRANTS, price=st.integers(1, 9), really=st.integers(0, 9))
    def lose(self, of: Grant, price: int, really: int) -> None:
        self.acting(lambda: super(FragileAgents, self).lose(of, price, really))

    @rule(seconds=st.sampled_from([1.0, limits.lease_idle_seconds]))
    def look(self, seconds: float) -> None:
        self.acting(lambda: super(FragileAgents, self).look(seconds))

    @rule(really=st.integers(0, 9))
    def close(self, really: int) -> None:
        """The owner says it again when the agent died before it was done."""
        self.acting(lambda: super(FragileAgents, self).close(really))
        if really == 9 and self.machine.table.find(key(3)) >= 0:
            self.acting(lambda: super(FragileAgents, self).close(really))

    def teardown(self) -> None:
        self.table.acts_left = None
        super().teardown()


class Borrowers(FragileAgents):
    """Agents that lend while their ledger is away, and are killed at any act of that."""

    MOST = 20

    def __init__(self) -> None:
        super().__init__()
        self.machine.lent_max = self.MOST
        self.machine.start()
        self.lent = 0

    @rule(of=GRANTS, price=st.integers(1, 9), share=st.sampled_from([0.0, 0.5, 1.0]))
    def call_on_loan(self, of: Grant, price: int, share: float) -> None:
        """A call that its lease, or else a loan, pays for."""

        def act() -> None:
            before = self.granted()
            try:
                self.machine.lessor.overdraft.overdraw(of.branch_key, price)
            finally:
                self.lent += self.granted() - before
            slot = self.machine.gate.reserve(of, price, self.machine.now, self.machine.boot_ns)
            if slot is not None:
                self.machine.gate.settle(of, slot, int(price * share))

        self.acting(act)

    @rule(acts=st.none() | st.integers(0, 3), before=st.booleans())
    def repay(self, acts: int | None, before: bool) -> None:
        """The ledger is back for a moment; the agent may be killed in it."""
        self.table.acts_left, self.table.before = acts, before
        self.acting(self.machine.repay)

    def granted(self) -> int:
        return sum(record.granted for record in self.records().values())

    @invariant()
    def no_cap_is_passed(self) -> None:
        """But by what was ever lent, of which at most so much is out at once."""
        for n, quota in QUOTAS.items():
            below = self.below(key(n))
            assert sum(r.granted - r.given_back for r in below) <= quota + self.lent
        holdings = self.machine.lessor._index
        assert holdings.debt <= self.MOST
        assert holdings.overdrawn == sum(holding.overdrawn for holding in holdings)
        assert holdings.debt == sum(holding.debt for holding in holdings)
        assert self.machine.table.lent >= holdings.overdrawn

    @invariant()
    def ledger_and_table_agree(self) -> None:
        """But for what is owed, and what of it was given back before it was known."""
        holdings = self.machine.lessor._index
        for record in self.records().values():
            (line, *_) = self.machine.ledger.report(record.key)
            below = [each for each in map(holdings.get, self.keys_below(record)) if each]
            owed = sum(holding.overdrawn - holding.withheld for holding in below)
            charged = sum(r.granted - r.given_back for r in self.below(record.key))
            assert line.quota - line.remaining + owed == charged

    def keys_below(self, record: BranchRecord) -> list[bytes]:
        return [each.key for each in self.below(record.key)]

    def teardown(self) -> None:
        """Once the ledger is back and all is looked at, it has charged what was spent."""
        self.table.acts_left = None
        self.machine.repay()
        assert self.machine.lessor.overdraft.overdrawn == 0
        super().ledger_and_table_agree()
        for of, slot, price in self.held:
            self.machine.gate.settle(of, slot, price)
        self.machine.rest()
        for name, line in {each.key: each for each in self.machine.ledger.report()}.items():
            below = self.below(name)
            assert line.quota - line.remaining == sum(r.settled + r.burned for r in below)


for machine in (Agents, NativeAgents, FragileAgents, Borrowers):
    machine.TestCase.settings = settings(
        max_examples=deep(30), stateful_step_count=40, deadline=None
    )
TestAgents = Agents.TestCase
TestNativeAgents = NativeAgents.TestCase
TestFragileAgents = FragileAgents.TestCase
TestBorrowers = Borrowers.TestCase
