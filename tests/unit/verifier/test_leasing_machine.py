"""One machine under any order of calls, kills of its agent, closings and refunds.

No cap is passed, and once it is quiet no credit is refused that is there.
"""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lessees import NOW, grant, key
from machine import GEOMETRY, Machine
from table_model import TableModel

from crewgate.core import ids
from crewgate.core.grant import Grant
from crewgate.verifier.leasing import Status

ROOT = (10, 100, int(NOW))
PARENT = (11, 60, int(NOW))
QUOTAS = {10: 100, 11: 60, 0: 50, 1: 60, 2: 90, 3: 30}
PATHS = {0: (ROOT, PARENT), 1: (ROOT, PARENT), 2: (ROOT,), 3: (ROOT, PARENT)}
GRANTS = st.sampled_from([grant(n, QUOTAS[n], *above) for n, above in PATHS.items()])
OWNERS_ACTS = (
    "open_branch", "amend", "close_branch", "begin_draw", "grant", "refuse", "take_back"
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
    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()
        self.table = FragileTable()
        self.machine.table = self.table
        self.machine.step_ns = 3 * 10**7
        self.machine.start()
        self.held: list[tuple[Grant, int, int]] = []
        self.settled: list[tuple[Grant, int]] = []
        self.closed: set[bytes] = set()

    def acting(self, act: Callable[[], object]) -> object:
        """What the agent does; when it is killed meanwhile, a new one takes up the table."""
        try:
            return act()
        except KilledError:
            self.table.acts_left = None
            self.machine.start()
            return None

    @rule(acts=st.integers(0, 12), before=st.booleans())
    def plan_a_kill(self, acts: int, before: bool) -> None:
        self.table.acts_left, self.table.before = acts, before

    @rule()
    def restart(self) -> None:
        self.table.acts_left = None
        self.machine.start()

    @rule(of=GRANTS, price=st.integers(1, 9))
    def call_and_settle(self, of: Grant, price: int) -> None:
        self.acting(lambda: self.machine.call(of, price))

    @rule(of=GRANTS, price=st.integers(1, 9))
    def hold(self, of: Grant, price: int) -> None:
        slot = self.acting(lambda: self.machine.reserve(of, price))
        if isinstance(slot, int):
            self.held.append((of, slot, price))

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 99), share=st.sampled_from([0.0, 0.5, 1.0]))
    def end(self, at: int, share: float) -> None:
        of, slot, price = self.held.pop(at % len(self.held))
        number = self.table.find(of.branch_key)
        cost = int(price * share)
        self.table.settle(number, slot, cost)
        self.settled.append((of, cost))

    @precondition(lambda self: self.settled)
    @rule(at=st.integers(0, 99))
    def undo(self, at: int) -> None:
        of, cost = self.settled.pop(at % len(self.settled))
        self.table.undo(self.table.find(of.branch_key), cost)

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 99), really=st.integers(0, 3))
    def burn(self, at: int, really: int) -> None:
        """Seldom: what is burned is gone for good."""
        if really == 3:
            of, slot, _ = self.held.pop(at % len(self.held))
            self.table.burn(self.table.find(of.branch_key), slot)

    @rule()
    def look(self) -> None:
        self.acting(self.machine.look)

    @rule(really=st.integers(0, 5))
    def close(self, really: int) -> None:
        if really == 5 and self.table.find(key(3)) >= 0:
            self.acting(lambda: self.machine.lessor.close(key(3)))
            self.closed.add(key(3))

    def below(self, number: int) -> list[int]:
        """Records at and below a record."""
        return [r.number for r in self.table.scan(0, 64) if number in (*r.parents, r.number)]

    @invariant()
    def no_cap_is_passed(self) -> None:
        """Leased and not given back, on every level; spend is part of it."""
        for n, quota in QUOTAS.items():
            number = self.table.find(key(n))
            if number >= 0:
                records = [self.table.live(at) for at in self.below(number)]
                assert sum(r.granted - r.given_back for r in records) <= quota
                assert all(r.settled <= r.granted - r.given_back for r in records)

    @invariant()
    def ledger_and_table_agree(self) -> None:
        """What the ledger has charged is what the table was granted and did not give back."""
        lines = {line.key: line for line in self.machine.ledger.report()}
        for record in self.table.scan(0, 64):
            line = lines[record.key]
            charged = sum(
                r.granted - r.given_back
                for r in (self.table.live(at) for at in self.below(record.number))
            )
            assert line.quota - line.remaining == charged
            assert line.settled + line.reserved + line.burned + line.leased == charged

    def left(self, of: Grant) -> int:
        """What the branch may still spend: the least over its levels of quota less consumption."""
        least = 10**9
        for n in (*(n for n, _, _ in PATHS[self.number(of)]), self.number(of)):
            record = self.table.find(key(n))
            gone = 0
            for at in self.below(record) if record >= 0 else []:
                below = self.table.live(at)
                gone += below.granted - below.given_back - below.available
            least = min(least, QUOTAS[n] - gone)
        return least

    def number(self, of: Grant) -> int:
        return next(n for n in PATHS if key(n) == of.branch_key)

    def teardown(self) -> None:
        """Every branch is refused just above what is left, and served exactly that."""
        self.table.acts_left = None
        for n, above in PATHS.items():
            of = grant(n, QUOTAS[n], *above)
            if of.branch_key in self.closed:
                if self.table.live(self.table.find(of.branch_key)).closed:
                    assert self.machine.draw(of, 1) is Status.CLOSED
                continue
            left = self.left(of)
            assert self.machine.draw(of, left + 1) is Status.EXHAUSTED
            self.check_refusal(of, left)
            assert self.machine.draw(of, left) is Status.GRANTED
            assert left == 0 or self.machine.call(of, left)
        self.no_cap_is_passed()

    def check_refusal(self, of: Grant, left: int) -> None:
        """The refusal names a level whose quota and use explain it."""
        refused = self.machine.refused(of)
        assert refused is not None
        need, level, used, quota = refused
        upwards = (of.branch_key, *reversed(of.path_keys), ids.crew_key("article"))
        named = next(n for n in QUOTAS if key(n) == upwards[level])
        assert (need, quota, quota - used) == (left + 1, QUOTAS[named], left)


Agents.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAgents = Agents.TestCase
