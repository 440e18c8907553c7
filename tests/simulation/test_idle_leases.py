"""Idle leases stay where they are until another machine needs the credit, or for a minute."""

from collections import Counter

import pytest
from lease_machines import SimulatedMachines
from search_depth import deep

from crewgate import limits

BUSY = 200  # calls a second of a busy branch


def burst(world: SimulatedMachines, machine: int, branch: int, calls: int) -> None:
    """So many calls of a branch at one machine, one after another."""
    of, at = world.branch(branch), world.machines[machine]
    for number in range(calls):
        world.later(number / BUSY, lambda: at.call(of))
    world.run(calls / BUSY + 0.1)


def test_a_machine_gets_what_lies_idle_at_another_one() -> None:
    """The last credits are in an idle lease: the calls of the other machine wait for a moment."""
    world = SimulatedMachines(2, 400, 1)
    first, second = world.machines
    burst(world, 0, 1, 300)
    assert first.idle(world.branch(1)) > 20
    world.run(5)
    burst(world, 1, 2, 110)
    assert (first.outcomes, second.outcomes["permitted"]) == ({"permitted": 300}, 100)
    assert second.outcomes["credits-exhausted"] == 10
    assert second.longest < 0.1
    assert world.ledger.report()[-1].leased == 0


def test_no_draw_is_made_after_a_pause() -> None:
    """Other machines draw meanwhile, and leave the lease alone: there is credit enough."""
    world = SimulatedMachines(2, 10_000, 2)
    first, second = world.machines
    burst(world, 0, 1, 300)
    burst(world, 1, 1, 300)
    world.run(5)
    draws, idle = first.queue.draws, first.idle(world.branch(1))
    assert idle > 20
    burst(world, 0, 1, idle // 2)
    assert first.queue.draws == draws
    world.run(limits.lease_idle_seconds + 3)
    assert first.idle(world.branch(1)) == second.idle(world.branch(1)) == 0
    assert {line.leased for line in world.ledger.report()} == {0}


@pytest.mark.parametrize("machines", [2, 3])
@pytest.mark.parametrize("loss", [0.0, 0.2], ids=["no loss", "a fifth lost"])
@pytest.mark.parametrize("seed", range(deep(3)))
def test_machines_that_need_each_others_leases_spend_all_there_is(
    machines: int, loss: float, seed: int
) -> None:
    """Bursts and pauses at all machines: no credit is spent twice, and no call is refused early.

    `SimulatedMachine` checks each refusal when it is made.
    """
    world = SimulatedMachines(machines, 1000, seed, loss=loss)
    while world.spent < world.quota:
        assert world.now < 300
        for machine in range(machines):
            if world.random.random() < 0.7:
                of = world.branch(world.random.randrange(4))
                for number in range(world.random.randrange(1, 60)):
                    at = world.machines[machine]
                    world.later(number / BUSY, lambda at=at, of=of: at.call(of))
        world.run(world.random.choice([0.3, 1.0, 5.0]))
    world.run(limits.lease_idle_seconds)
    found = sum((each.outcomes for each in world.machines), start=Counter[str]())
    assert found["permitted"] == world.spent == world.quota
    assert found["contended"] == 0
    (crew, *_) = world.ledger.report()
    assert (crew.settled, crew.leased, crew.reserved, crew.burned) == (world.quota, 0, 0, 0)
