"""What a process holds: slots that others may have by now, leases that refunds would overflow."""

import msgspec
import pytest
from crew_world import World
from gate_world import Gatehouse

from crewgate import limits
from crewgate._native.gate import Gate
from crewgate._native.permit import Permit

SEARCH = 0


def priced(price: int) -> World:
    """A world whose search costs so much."""
    world = World.make()
    tools = tuple(msgspec.structs.replace(tool, price=price) for tool in world.policy.tools)
    world.policy = msgspec.structs.replace(world.policy, tools=tools)
    most = limits.quota_micro_max
    path = [{**each, "credit_quota": most} for each in world.claims()["branch_path"]]
    world.token = world.mint(credit_quota=most, branch_path=path)
    return world


def test_two_that_share_a_number_share_its_slots() -> None:
    """A process that was given up and goes on under its old number stops nobody who has it now."""
    house = Gatehouse(World.make())
    token = house.world.token
    house.permit(token).settle()
    house.table.drop_attachment(0)
    assert house.table.take_attachment()[0] == 0
    heir = Gate(house.table, 0)
    heir.load(house.world.policy)
    heir.clock = house.gate.clock
    house.draw(house.world.grant, 100)
    permits = []
    for gate in (heir, house.gate, heir, house.gate):
        permit = gate.decide(token, SEARCH)
        assert isinstance(permit, Permit), permit
        permits.append(permit)
    for permit in permits:
        permit.settle()
    record = house.record()
    assert (record.settled, record.reserved, record.burned) == (50, 0, 0)


def test_refunds_never_become_flags_or_generation() -> None:
    """Calls that were settled at once and are undone together burn what no lease can hold."""
    price = limits.price_micro_max
    house = Gatehouse(priced(price), holds=False)
    permits = [house.permit(house.world.token) for _ in range(5)]
    for permit in permits:
        permit.release()
    record = house.record()
    assert record.available == limits.lease_micro_max
    assert record.pending == record.settled == 0
    assert record.burned == record.granted - record.given_back - record.available
    with pytest.raises(ValueError, match="no draw is pending"):
        house.table.grant(record.number, 1)
    house.permit(house.world.token)
