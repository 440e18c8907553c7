"""A restarted agent grants nothing twice; a reclaimed branch stays charged; shares hold."""

import pytest
from grant_builders import NOW, grant, key
from lease_world import Machine, New, siblings

from crewgate import limits
from crewgate.core import ids
from crewgate.core.policy.policy import CrewPolicy, Policy
from crewgate.core.tokens.grant import Grant
from crewgate.leases.lease_client import DrawResult

MEMORY = limits.branch_memory_seconds


def policy(**ceilings: int) -> Policy:
    crew = CrewPolicy("article", "https://orchestrator.example", **ceilings)
    return Policy("https://gateway.example", (), (crew,), ())


def available(machine: Machine, of: Grant) -> int:
    record = machine.table.branch(machine.table.find(of.branch_key))
    assert record is not None
    return record.available


def test_a_restarted_agent_knows_what_was_granted(new_machine: New) -> None:
    """Leases, spend and quota come from the table; the cap holds over both lives."""
    machine = new_machine()
    one, two = siblings(2, parent=50, quota=40)
    machine.call(one, 30)
    machine.draw(one, 5)
    machine.start()
    before = machine.ledger.report()
    machine.look()
    assert machine.ledger.report() != before
    assert (machine.consumed(key(100)), machine.ledger.report(key(100))[0].settled) == (35, 30)
    assert sum(machine.call(two, 1) for _ in range(60)) == 20
    assert machine.draw(one, 1) is DrawResult.EXHAUSTED


def test_a_draw_that_was_begun_is_applied_once(new_machine: New) -> None:
    """Killed between asking and applying: the new life asks again under the same number."""
    machine = new_machine()
    of = grant(1, 50)
    machine.call(of, 10)
    number = machine.table.find(of.branch_key)
    sequence = machine.table.begin_draw(number, 7)
    machine.start()
    record = machine.table.branch(number)
    assert record is not None
    assert (record.available, record.pending, record.sequence) == (7, 0, sequence)
    assert machine.consumed(key(1)) == 17
    machine.start()
    assert available(machine, of) == 7


def test_a_draw_that_was_begun_and_cannot_be_granted_is_only_ended(
    new_machine: New,
) -> None:
    """The branch asks anew when it is called."""
    machine = new_machine()
    of = grant(1, 10)
    machine.call(of, 10)
    machine.table.begin_draw(machine.table.find(of.branch_key), 7)
    machine.start()
    assert machine.table.scan(0, 64)[1].pending == 0
    assert machine.draw(of, 1) is DrawResult.EXHAUSTED


def test_a_begun_draw_holds_up_nobody_after_a_restart(new_machine: New) -> None:
    """What it lacked is recalled at once; no ticket without a waiter stays in the queue."""
    machine = new_machine()
    one, two, three = siblings(3, parent=50, quota=50)
    machine.draw(one, 40)
    machine.draw(two, 5)
    machine.table.begin_draw(machine.table.find(two.branch_key), 20)
    machine.start()
    assert available(machine, two) == 25
    assert machine.draw(three, 20) is DrawResult.GRANTED


def test_idle_leases_of_the_former_life_are_recalled(new_machine: New) -> None:
    """Siblings are not refused for credit that nobody in the new life drew."""
    machine = new_machine()
    one, two = siblings(2, parent=50, quota=50)
    machine.draw(one, 50)
    machine.start()
    assert machine.call(two, 50)


def test_the_hour_of_the_former_life_goes_on(new_machine: New) -> None:
    """A restart gives no crew a second allowance."""
    machine = new_machine(policy(hourly_max=10))
    assert machine.call(grant(1, 50), 8)
    machine.start()
    assert machine.draw(grant(1, 50), 3) is DrawResult.EXHAUSTED
    assert machine.draw(grant(1, 50), 2) is DrawResult.GRANTED


def test_a_begun_draw_respects_the_allowance(new_machine: New) -> None:
    """The new life knows the crew's ceilings before it asks again."""
    machine = new_machine(policy(hourly_max=10))
    of = grant(1, 50)
    assert machine.call(of, 8)
    machine.table.begin_draw(machine.table.find(of.branch_key), 3)
    machine.start()
    assert available(machine, of) == 0


def test_closed_branches_stay_closed_over_a_restart(new_machine: New) -> None:
    """The table remembers; so do their descendants' draws."""
    machine = new_machine()
    parent, child = grant(1, 50), grant(2, 50, (1, 50, 1))
    machine.draw(child, 5)
    machine.lessor.close(key(1))
    machine.start()
    assert machine.draw(parent, 1) is DrawResult.CLOSED
    assert machine.draw(child, 1) is DrawResult.CLOSED


def expire(machine: Machine, seconds: int = 900 + MEMORY + 1) -> list[bytes]:
    machine.now += seconds
    machine.boot_ns += seconds * 10**9
    return [gone.key for gone in machine.lessor.reclaim(machine.now, machine.boot_ns, 64)]


def test_a_reclaimed_branch_stays_charged_to_its_ancestors(new_machine: New) -> None:
    """Its record is free; the parent has not got its credit back, nor after a restart."""
    machine = new_machine()
    child = grant(2, 50, (1, 100, int(NOW)))
    machine.call(child, 30)
    machine.draw(child, 10)
    machine.now += 600
    machine.boot_ns += 600 * 10**9
    assert machine.draw(grant(1, 100, iat=int(NOW) + 600), 5) is DrawResult.GRANTED
    assert expire(machine, MEMORY + 301) == [key(2)]
    assert machine.table.find(key(2)) == -1
    assert machine.consumed(key(1)) == 35
    machine.start()
    assert machine.consumed(key(1)) == 35
    again = grant(1, 100, iat=int(machine.now))
    assert sum(machine.call(again, 10) for _ in range(10)) == 7


def test_a_whole_tree_is_reclaimed_and_only_the_crew_remembers(new_machine: New) -> None:
    """Children go before parents; the crew's record never expires."""
    machine = new_machine()
    machine.call(grant(3, 50, (1, 100, None), (2, 100, None)), 30)
    gone = expire(machine) + expire(machine) + expire(machine)
    assert gone == [key(3), key(2), key(1)]
    assert [record.retired for record in machine.table.scan(0, 64)] == [30]
    machine.start()
    assert machine.consumed(ids.crew_key("article")) == 30


def test_a_branch_is_remembered_a_day_after_its_last_grant(new_machine: New) -> None:
    """A token that is presented meanwhile finds its spend."""
    machine = new_machine()
    machine.call(grant(1, 10), 10)
    assert expire(machine, 900 + MEMORY - 1) == []
    again = grant(1, 10, iat=int(machine.now))
    assert machine.draw(again, 1) is DrawResult.EXHAUSTED
    assert expire(machine, MEMORY) == []


def test_one_crew_has_at_most_half_of_the_records(new_machine: New) -> None:
    """Over it, that crew alone is refused; branches it has go on."""
    machine = new_machine()
    statuses = [machine.draw(grant(n, 10), 1) for n in range(33)]
    assert statuses == [DrawResult.GRANTED] * 32 + [DrawResult.SHARE]
    assert machine.draw(grant(0, 10), 2) is DrawResult.GRANTED


def test_the_share_counts_ancestors_and_survives_a_restart(new_machine: New) -> None:
    """A deep path takes a record for every level."""
    machine = new_machine()
    for n in range(30):
        machine.draw(grant(n, 10), 1)
    machine.start()
    assert machine.draw(grant(50, 9, (51, 9, None), (52, 9, None)), 1) is DrawResult.SHARE
    assert machine.draw(grant(50, 9, (51, 9, None)), 1) is DrawResult.GRANTED


def test_a_full_table_refuses_new_branches_and_keeps_what_it_has(
    new_machine: New,
) -> None:
    """Nothing is forgotten to make room; of a refused branch a ledger in memory keeps nothing."""
    crews = tuple(CrewPolicy(name, "https://orchestrator.example") for name in "abc")
    machine = new_machine(Policy("https://gateway.example", (), crews, ()))
    machine.lessor._forget = machine.ledger.forget
    for crew in "ab":
        for n in range(31):
            assert machine.draw(grant(n, 10, crew=crew), 1) is DrawResult.GRANTED
    assert machine.draw(grant(1, 10, crew="c"), 1) is DrawResult.FULL
    assert len(machine.ledger.report()) == 64
    assert machine.draw(grant(1, 10, crew="a"), 2) is DrawResult.GRANTED


def test_new_branches_a_minute_are_bounded(new_machine: New) -> None:
    """By the boot clock: setting the wall clock begins no new minute."""
    machine = new_machine(policy(new_branches_per_minute_max=3))
    machine.step_ns = 0
    machine.boot_ns = 600 * 10**9
    assert [machine.draw(grant(n, 9), 1) for n in range(4)] == [DrawResult.GRANTED] * 3 + [
        DrawResult.SHARE
    ]
    machine.now += 3600
    assert machine.draw(grant(4, 9), 1) is DrawResult.SHARE
    machine.boot_ns += 60 * 10**9
    assert machine.draw(grant(4, 9), 1) is DrawResult.GRANTED


@pytest.mark.parametrize("restart", [False, True])
def test_live_branches_are_bounded_until_grants_end_or_are_closed(
    new_machine: New, restart: bool
) -> None:
    """A branch lives until its newest grant ends; a closed one makes room at once."""
    machine = new_machine(policy(live_branches_max=2))
    assert machine.draw(grant(1, 9), 1) is DrawResult.GRANTED
    assert machine.draw(grant(2, 9, lifetime=60), 1) is DrawResult.GRANTED
    if restart:
        machine.start()
    assert machine.draw(grant(3, 9), 1) is DrawResult.SHARE
    machine.now += 61
    assert machine.draw(grant(3, 9), 1) is DrawResult.GRANTED
    assert machine.draw(grant(4, 9), 1) is DrawResult.SHARE
    machine.lessor.close(key(1))
    if restart:
        machine.start()
    assert machine.draw(grant(4, 9), 1) is DrawResult.GRANTED


def test_a_refresh_keeps_a_branch_alive(new_machine: New) -> None:
    """The newest grant's end counts, also when an older one ends before."""
    machine = new_machine(policy(live_branches_max=1))
    machine.draw(grant(1, 9, lifetime=60), 1)
    machine.draw(grant(1, 9, iat=int(NOW) + 30), 1)
    machine.now += 61
    assert machine.draw(grant(2, 9), 1) is DrawResult.SHARE


def test_what_was_drawn_for_a_branch_that_got_no_record_returns(new_machine: New) -> None:
    """The agent was killed between the ledger's answer and the record: nobody can have spent it."""
    machine = new_machine()
    machine.draw(grant(1, 50), 5)
    steps = machine.lessor.steps(grant(2, 50), 20, machine.now, machine.boot_ns)
    machine.ledger.do(next(steps), machine.now)
    assert machine.consumed(key(2)) == 20
    machine.start()
    assert machine.consumed(key(2)) == 0
    assert machine.ledger.report(key(2))[0].burned == 0
    assert machine.draw(grant(2, 50), 50) is DrawResult.GRANTED


def test_what_a_full_table_has_no_record_for_is_given_back(new_machine: New) -> None:
    """It was drawn with the opening, before it was known that there is no room."""
    crews = tuple(CrewPolicy(name, "https://orchestrator.example") for name in "abc")
    machine = new_machine(Policy("https://gateway.example", (), crews, ()))
    for crew in "ab":
        for n in range(31):
            assert machine.draw(grant(n, 10, crew=crew), 1) is DrawResult.GRANTED
    refused = grant(1, 10, crew="c")
    assert machine.draw(refused, 4) is DrawResult.FULL
    assert machine.consumed(refused.branch_key) == 0
