"""Credit that a machine lends itself while its ledger is away: bounded, and owed to the last."""

import pytest
from lessees import NOW, grant, key
from machine import Machine, New

from crewgate.core.grant import Grant
from crewgate.errors import LedgerError
from crewgate.verifier.leasing import Lessor, Status

MOST = 30
ROOT = (9, 100, int(NOW))
CHILD: Grant = grant(1, 50, ROOT)


@pytest.fixture
def machine(new_machine: New) -> Machine:
    """One that may lend, and has drawn 40 of the branch's 50."""
    made = new_machine()
    lend(made)
    assert made.draw(CHILD, 40) is Status.GRANTED
    return made


def lend(machine: Machine, most: int = MOST) -> None:
    """A life of the agent that lends so much."""
    machine.lessor = Lessor(
        machine.table,  # type: ignore[arg-type]
        machine.ledger,
        machine.policy,
        machine.name,
        lent_max=most,
    )
    machine.lessor.rebuild(machine.now, machine.boot_ns)


def repay(machine: Machine) -> None:
    """The ledger is back."""
    for owing in machine.lessor.lending.owing:
        machine.lessor._at_once(machine.lessor.repay(owing), machine.now)


def agree(machine: Machine) -> bool:
    """Whether the ledger has charged what the table was granted and has not given back."""
    record = machine.table.branch(machine.table.find(CHILD.branch_key))
    assert record is not None
    return machine.consumed(key(1)) == record.granted - record.given_back


def test_what_is_lent_is_charged_when_the_ledger_is_back(machine: Machine) -> None:
    """Beyond the quota too: it has been spent, and nobody is told otherwise."""
    assert machine.lessor.lending.lend(CHILD.branch_key, 60)
    assert machine.call(CHILD, 60)
    assert machine.lessor.lending.owed == 20
    assert machine.consumed(key(1)) == 40
    repay(machine)
    assert machine.lessor.lending.owed == 0
    assert agree(machine)
    assert machine.consumed(key(9)) == 60
    machine.look()
    assert machine.ledger.report(key(1))[0].settled == 60
    assert machine.draw(CHILD, 1) is Status.EXHAUSTED


def test_a_machine_lends_no_more_than_it_may(machine: Machine) -> None:
    """All branches together; and nothing to a branch that it does not know, or that is closed."""
    lending = machine.lessor.lending
    assert not lending.lend(CHILD.branch_key, 40 + MOST + 1)
    assert lending.lend(CHILD.branch_key, 40 + MOST - 5)
    assert machine.draw(grant(2, 9, ROOT), 9) is Status.GRANTED
    assert not lending.lend(key(2), 15)
    assert lending.lend(key(2), 14)
    assert not lending.lend(key(3), 1)
    machine.lessor.close(key(2))
    assert not lending.lend(key(2), 1)


def test_credit_that_is_owed_is_not_given_back_before_it_is_charged(machine: Machine) -> None:
    """The ledger would not know what comes back; afterwards it does."""
    assert machine.lessor.lending.lend(CHILD.branch_key, 60)
    machine.lessor.surrender(key(9), machine.boot_ns)
    assert machine.consumed(key(1)) == 40
    repay(machine)
    assert machine.consumed(key(1)) == 0
    assert agree(machine)


@pytest.mark.parametrize("asked", [False, True])
def test_what_is_owed_outlives_the_agent(machine: Machine, asked: bool) -> None:
    """It is what the table was granted and the ledger does not know, also when it was about to."""
    assert machine.lessor.lending.lend(CHILD.branch_key, 60)
    if asked:  # the ledger answers, and the agent is killed before it hears that
        machine.ledger.do(next(machine.lessor.repay(CHILD.branch_key)), machine.now)
    lend(machine)
    repay(machine)
    assert machine.lessor.lending.owed == 0
    assert agree(machine)


def test_who_lends_nothing_takes_up_no_debt(machine: Machine) -> None:
    """Then a ledger that knows of less is an older copy."""
    assert machine.lessor.lending.lend(CHILD.branch_key, 60)
    with pytest.raises(LedgerError, match="older copy"):
        lend(machine, 0)
