"""A call under way takes more by the rule that calls are admitted by, as long as it lasts."""

import itertools

import msgspec
import pytest
from crew_world import World
from gate_world import BOOT_NS, Gatehouse, opened

CLOSED, OPEN = 0, 1
ALWAYS = 2**64 - 1


@pytest.fixture
def house() -> Gatehouse:
    """A gate with credit for the world's token, where OPEN is open and all others are closed."""
    world = World.make()
    world.policy = opened(world.policy, OPEN)
    house = Gatehouse(world)
    house.permit(world.token).release()
    house.draw(world.grant, 1000)
    return house


@pytest.mark.parametrize(
    ("fresh", "synced", "tool"),
    list(itertools.product([True, False], [True, False], [CLOSED, OPEN])),
)
def test_a_permit_takes_more_by_the_rule_that_calls_are_admitted_by(
    house: Gatehouse, fresh: bool, synced: bool, tool: int
) -> None:
    """What it has it keeps, and may settle."""
    permit = house.permit(house.world.token, tool)
    price = permit.price_micro
    assert permit.is_current
    house.table.extend_freshness(BOOT_NS + fresh, BOOT_NS + synced)
    allowed = fresh and (synced or tool == OPEN)
    assert permit.is_current is allowed
    assert permit.grow(7) is allowed
    assert permit.price_micro == price + (7 if allowed else 0)
    assert permit.has_reservation
    assert not permit.revoked
    permit.settle()
    assert house.record().settled == permit.price_micro


def test_a_permit_looks_at_the_machine_s_own_clock(house: Gatehouse) -> None:
    """Which no test has stopped."""
    house.gate.clock = None
    with house.permit(house.world.token) as permit:
        assert permit.grow(1)
        house.table.extend_freshness(ALWAYS, 1)
        assert not permit.grow(1)


def test_a_call_keeps_what_its_tool_was_when_it_began(house: Gatehouse) -> None:
    """Tools are numbered anew by a new policy; the permit's number is of the old one."""
    with house.permit(house.world.token, OPEN) as permit:
        house.load(msgspec.structs.replace(house.world.policy, tools=(), generation=2))
        house.table.extend_freshness(ALWAYS, 0)
        assert permit.grow(1)


def test_a_permit_of_a_closed_table_is_vouched_for_by_nobody(house: Gatehouse) -> None:
    """A closed mapping is never read."""
    permit = house.permit(house.world.token)
    house.table.close()
    assert not permit.is_current
