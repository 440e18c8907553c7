"""Credit that a machine lends itself while its ledger is away: bounded, and owed to the last."""

import copy

import pytest
from grant_builders import NOW, grant, key
from lease_world import Machine, New

from crewgate import limits
from crewgate.core.budget.ledger_protocol import BranchesOpened
from crewgate.core.tokens.grant import Grant
from crewgate.errors import InvalidLedgerOperationError
from crewgate.leases.lease_client import DrawResult

MOST = 30
ROOT = (9, 100, int(NOW))
CHILD: Grant = grant(1, 50, ROOT)


@pytest.fixture
def machine(new_machine: New) -> Machine:
    """One that may lend, and has drawn 40 of the branch's 50."""
    made = new_machine()
    lend(made)
    assert made.draw(CHILD, 40) is DrawResult.GRANTED
    return made


def lend(machine: Machine, most: int = MOST) -> None:
    """A life of the agent that lends so much."""
    machine.lent_max = most
    machine.start()


def agree(machine: Machine) -> bool:
    """Whether the ledger has charged what the table was granted and has not given back."""
    record = machine.table.branch(machine.table.find(CHILD.branch_key))
    assert record is not None
    return machine.consumed(key(1)) == record.granted - record.given_back


def test_what_is_lent_is_charged_when_the_ledger_is_back(machine: Machine) -> None:
    """Beyond the quota too: it has been spent, and nobody is told otherwise."""
    assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 60)
    assert machine.call(CHILD, 60)
    assert machine.lessor.overdraft.overdrawn == 20
    assert machine.consumed(key(1)) == 40
    machine.repay()
    assert machine.lessor.overdraft.overdrawn == 0
    assert agree(machine)
    assert machine.consumed(key(9)) == 60
    machine.look()
    assert machine.ledger.report(key(1))[0].settled == 60
    assert machine.draw(CHILD, 1) is DrawResult.EXHAUSTED


def test_a_machine_lends_no_more_than_it_may(machine: Machine) -> None:
    """All branches together; and nothing to a branch that it does not know, or that is closed."""
    lending = machine.lessor.overdraft
    assert not lending.overdraw(CHILD.branch_key, 40 + MOST + 1)
    assert lending.overdraw(CHILD.branch_key, 40 + MOST - 5)
    assert machine.draw(grant(2, 9, ROOT), 9) is DrawResult.GRANTED
    assert not lending.overdraw(key(2), 15)
    assert lending.overdraw(key(2), 14)
    assert not lending.overdraw(key(3), 1)
    machine.lessor.close(key(2))
    assert not lending.overdraw(key(2), 1)


def test_credit_that_is_owed_is_not_given_back_before_it_is_charged(machine: Machine) -> None:
    """The ledger would not know what comes back; afterwards it does."""
    assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 60)
    machine.lessor.surrender(key(9), machine.boot_ns)
    assert machine.consumed(key(1)) == 40
    machine.repay()
    assert machine.consumed(key(1)) == 0
    assert agree(machine)


@pytest.mark.parametrize("asked", [False, True])
def test_what_is_owed_outlives_the_agent(machine: Machine, asked: bool) -> None:
    """It is what the table was granted and the ledger does not know, also when it was about to."""
    assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 60)
    if asked:  # the ledger answers, and the agent is killed before it hears that
        machine.ledger.do(next(machine.lessor.settle_overdraft(CHILD.branch_key)), machine.now)
    lend(machine)
    machine.repay()
    assert machine.lessor.overdraft.overdrawn == 0
    assert agree(machine)


def test_a_kill_between_commit_and_answer_grants_nothing_twice(machine: Machine) -> None:
    """No draw is pending while what is owed is charged, so the next life sends none again."""
    assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 60)
    assert machine.call(CHILD, 60)
    steps = machine.lessor.settle_overdraft(
        CHILD.branch_key
    )  # kept: whoever is killed tidies nothing up
    machine.ledger.do(next(steps), machine.now)
    lend(machine)
    assert machine.lessor.overdraft.overdrawn == 0
    assert machine.gate.reserve(CHILD, 1, machine.now, machine.boot_ns) is None
    machine.repay()
    machine.rest()
    assert machine.consumed(key(1)) == 60
    assert agree(machine)


def test_who_lends_no_more_pays_its_debts(machine: Machine) -> None:
    """The operator has changed his mind: what was lent is owed all the same."""
    assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 60)
    assert machine.call(CHILD, 60)
    lend(machine, 0)
    assert not machine.lessor.overdraft.overdraw(CHILD.branch_key, 1)
    machine.repay()
    assert machine.consumed(key(1)) == 60


@pytest.mark.parametrize("most", [0, MOST])
def test_an_older_copy_of_the_ledger_is_no_debt(new_machine: New, most: int) -> None:
    """The table knows how much was lent at most; also where it was repaid before."""
    machine = new_machine()
    lend(machine)
    assert machine.draw(CHILD, 40) is DrawResult.GRANTED
    assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 60)
    older = copy.deepcopy(machine.ledger)
    machine.repay()
    machine.ledger = older
    with pytest.raises(InvalidLedgerOperationError, match="older copy"):
        lend(machine, most)


def test_what_the_ledger_never_charges_is_asked_for_once(new_machine: New) -> None:
    """It has lost the branch: others are forgotten in time all the same, and somebody is told."""
    machine = new_machine()
    lend(machine)
    empty = copy.deepcopy(machine.ledger)
    assert machine.draw(CHILD, 40) is DrawResult.GRANTED
    assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 60)
    machine.ledger = machine.lessor._ledger = empty
    with pytest.raises(
        InvalidLedgerOperationError,
        match="the ledger never charges 20 micro-credits that the branch owes",
    ):
        machine.repay()
    assert (machine.lessor.overdraft.overdrawn, machine.lessor.overdraft.owing) == (0, [])
    assert machine.table.lent == 20


def test_what_is_taken_out_of_a_lease_may_be_lent_again(machine: Machine) -> None:
    """A bound counts what may be spent: a call that reserves 15 and costs 1 takes 1 of it."""
    assert machine.call(CHILD, 40)
    for served in range(MOST - 14):
        assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 15), served
        slot = machine.gate.reserve(CHILD, 15, machine.now, machine.boot_ns)
        assert slot is not None
        machine.gate.settle(CHILD, slot, 1)
        machine.rest()
    assert not machine.lessor.overdraft.overdraw(CHILD.branch_key, 15)
    lend(machine)
    assert not machine.lessor.overdraft.overdraw(CHILD.branch_key, 15)
    assert machine.lessor.overdraft.overdraw(CHILD.branch_key, 14)
    machine.repay()
    machine.rest()
    assert machine.consumed(key(1)) == 40 + MOST - 14
    assert agree(machine)


@pytest.mark.parametrize("killed", [False, True])
def test_a_late_grant_finds_room_beside_what_was_lent(new_machine: New, killed: bool) -> None:
    """However much is lent while a draw is on its way, both fit the lease."""
    machine = new_machine()
    lend(machine, limits.quota_micro_max)
    price = limits.price_micro_max
    child = grant(1, 10**13, (9, 10**13, int(NOW)))
    assert machine.draw(child, 1) is DrawResult.GRANTED
    steps = machine.lessor.steps(child, price, machine.now, machine.boot_ns)
    operation = next(steps)
    assert machine.lessor.overdraft.overdraw(child.branch_key, price)
    slot = machine.gate.reserve(child, price, machine.now, machine.boot_ns)
    assert slot is not None
    assert not machine.lessor.overdraft.overdraw(child.branch_key, price)
    answer = machine.ledger.do(operation, machine.now)
    if killed:
        lend(machine, limits.quota_micro_max)
    else:
        with pytest.raises(StopIteration):
            steps.send(answer)
    assert machine.lessor.overdraft.overdrawn == price - 1
    machine.gate.settle(child, slot, price)
    last = machine.reserve(child, price - 1, loose=True)
    assert last is not None
    machine.gate.settle(child, last, price - 1)
    machine.repay()
    machine.rest()
    assert machine.consumed(key(1)) == 2 * price - 1


def test_what_is_lent_during_an_opening_is_no_part_of_it(new_machine: New) -> None:
    """A parent, whose record a child has made, is granted its own need and what it was lent."""
    machine = new_machine()
    lend(machine)
    parent = grant(9, 100)
    steps = machine.lessor.steps(parent, 20, machine.now, machine.boot_ns)
    opening = next(steps)
    assert machine.draw(grant(1, 50, ROOT), 5) is DrawResult.GRANTED
    machine.ledger.do(opening, machine.now)  # the reply is lost
    assert machine.lessor.overdraft.overdraw(parent.branch_key, 20)
    with pytest.raises(StopIteration):
        steps.send(machine.ledger.do(opening, machine.now))
    machine.repay()
    machine.lessor.surrender(key(9), machine.boot_ns)
    machine.rest()
    assert machine.consumed(key(9)) == 0


def test_an_opening_that_is_asked_twice_and_declined_leaves_nothing(new_machine: New) -> None:
    """The answer was lost after the commit, and nobody waits for the second one any more."""
    machine = new_machine()
    run = 9, 10, int(NOW)
    steps = machine.lessor.steps(grant(1, 10, run), 6, machine.now, machine.boot_ns)
    opening = next(steps)
    machine.ledger.do(opening, machine.now)
    answer = machine.ledger.do(opening, machine.now)
    assert isinstance(answer, BranchesOpened)
    steps.close()
    machine.lessor.decline(answer)
    assert machine.consumed(key(9)) == 0
    assert machine.draw(grant(2, 10, run), 10) is DrawResult.GRANTED
