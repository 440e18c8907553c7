"""Branches that are opened at once, whose answers come while others wait for theirs."""

from collections import deque

import pytest
from grant_builders import NOW, grant, key
from hypothesis import given, settings
from hypothesis import strategies as st
from lease_world import Machine, New

from crewgate.core.budget.ledger_protocol import BranchesOpened, Operation, OperationResult
from crewgate.leases.lease_client import DrawResult, LeaseClient, LedgerCalls

PARENT = (1, 100, int(NOW))
GRANTS = (grant(1, 100), grant(2, 50, PARENT), grant(3, 50, PARENT, (2, 50, int(NOW))))


@pytest.mark.parametrize("first", ["parent", "child"])
@pytest.mark.parametrize("declined", [False, True])
def test_a_parent_and_its_child_are_opened_at_once(
    new_machine: New, first: str, declined: bool
) -> None:
    """Whoever has its answer first makes both records; the parent's own draw is given to it."""
    machine = new_machine()
    machine.draw(grant(7, 9), 1)
    asked = {"parent": grant(1, 100), "child": grant(2, 50, (1, 100, int(NOW)))}
    steps = {
        name: machine.lessor.steps(each, 20, machine.now, machine.boot_ns)
        for name, each in asked.items()
    }
    opened = {name: machine.ledger.do(next(each), machine.now) for name, each in steps.items()}
    order = [first, *({"parent", "child"} - {first})]
    for name in order:
        if name == "parent" and declined:
            assert isinstance(opened[name], BranchesOpened)
            steps[name].close()
            machine.lessor.decline(opened[name])
            continue
        with pytest.raises(StopIteration) as end:
            steps[name].send(opened[name])
        assert end.value.value is DrawResult.GRANTED
    for key_ in (key(1), key(2)):
        record = machine.table.branch(machine.table.find(key_))
        assert record is not None
        assert record.burned == 0
        leases = machine.ledger.leases(machine.name, machine.table.life)
        told = leases[key_]
        assert record.granted - record.given_back == told.granted - told.given_back
        assert record.sequence >= told.seq
    machine.rest()
    assert machine.consumed(key(1)) == 0
    assert machine.draw(asked["parent"], 100) is DrawResult.GRANTED


def test_what_the_table_was_not_given_is_given_after_a_restart(new_machine: New) -> None:
    """The agent was killed between a child's record, with its parent's, and the parent's answer."""
    machine = new_machine()
    parent, child = grant(1, 100), grant(2, 50, (1, 100, int(NOW)))
    steps = machine.lessor.steps(parent, 20, machine.now, machine.boot_ns)
    machine.ledger.do(next(steps), machine.now)
    assert machine.draw(child, 5) is DrawResult.GRANTED
    machine.start()
    record = machine.table.branch(machine.table.find(key(1)))
    assert record is not None
    assert (record.available, record.burned) == (20, 0)
    assert machine.draw(parent, 30) is DrawResult.GRANTED
    assert machine.consumed(key(1)) == 35


class Clerk:
    """Carries questions in their order, and answers, when it is told to."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.asked: deque[tuple[Operation, LedgerCalls | None]] = deque()
        self.answered: deque[tuple[OperationResult, LedgerCalls | None]] = deque()
        self.talks: dict[bytes, LedgerCalls] = {}
        machine.lessor = LeaseClient(
            machine.table,  # type: ignore[arg-type]
            machine.ledger,
            machine.policy,
            machine.name,
            submit=lambda operation: self.asked.append((operation, None)),
        )
        machine.lessor.rebuild(machine.now, machine.boot_ns)

    def begin(self, number: int, need: int) -> None:
        """One draw of a branch at a time, as the agent has it."""
        asked = GRANTS[number]
        if asked.branch_key not in self.talks:
            steps = self.machine.lessor.steps(asked, need, NOW, self.machine.boot_ns)
            self.talks[asked.branch_key] = steps
            self.go_on(steps, None)

    def go_on(self, steps: LedgerCalls, answer: OperationResult) -> None:
        try:
            self.asked.append((steps.send(answer), steps))
        except StopIteration:
            self.talks = {name: each for name, each in self.talks.items() if each is not steps}

    def carry(self) -> None:
        if self.asked:
            operation, steps = self.asked.popleft()
            self.answered.append((self.machine.ledger.do(operation, NOW), steps))

    def hear(self, *, declined: bool) -> None:
        if not self.answered:
            return
        answer, steps = self.answered.popleft()
        if steps is None:
            return
        if declined and isinstance(answer, BranchesOpened):
            steps.close()
            self.machine.lessor.decline(answer)
            self.talks = {name: each for name, each in self.talks.items() if each is not steps}
        else:
            self.go_on(steps, answer)

    def end(self) -> None:
        while self.asked or self.answered:
            self.carry()
            self.hear(declined=False)


ACTS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 2), st.integers(1, 20)),
    st.tuples(st.just("carry"), st.just(0), st.just(0)),
    st.tuples(st.just("hear"), st.integers(0, 3), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ACTS, max_size=40), st.booleans())
def test_in_any_order_the_table_has_what_the_ledger_granted(
    acts: list[tuple[str, int, int]], restart: bool
) -> None:
    """Nothing is lost, nothing is there twice; and idle credit finds its way back."""
    machine = Machine()
    clerk = Clerk(machine)
    for act, which, need in acts:
        if act == "begin":
            clerk.begin(which, need)
        elif act == "carry":
            clerk.carry()
        else:
            clerk.hear(declined=which == 0)
    if restart:
        machine.start()
    else:
        clerk.end()
    leases = machine.ledger.leases(machine.name, machine.table.life)
    for number in (1, 2, 3):
        told = leases.pop(key(number), None)
        record = machine.table.branch(machine.table.find(key(number)))
        if told is None:
            continue
        out = told.granted - told.given_back
        assert (record.granted - record.given_back if record else 0) == out
        assert record is None or record.burned == 0
    machine.rest()
    if not restart:
        clerk.end()
    assert all(line.leased == line.burned == 0 for line in machine.ledger.report())
