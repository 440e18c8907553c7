"""A gate that cannot know what was revoked, or by which policy to judge, admits nothing."""

import msgspec
import pytest
from crew_world import KID, World
from gate_world import BOOT_NS, GEOMETRY, Gatehouse

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table_owner import OwnedTable
from crewgate.core.policy.policy import Policy
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.errors import TableError

SEARCH, PING = 0, 2


@pytest.fixture
def world() -> World:
    return World.make()


@pytest.fixture
def house(world: World) -> Gatehouse:
    return Gatehouse(world)


def next_policy(policy: Policy, **changes: object) -> Policy:
    return msgspec.structs.replace(policy, generation=policy.generation + 1, **changes)


@pytest.mark.parametrize("how", ["no policy", "stale", "retired", "other generation"])
def test_a_gate_that_cannot_know_the_revocations_admits_nothing(world: World, how: str) -> None:
    """Fail closed, and before anything is told of the token."""
    table = OwnedTable.private(GEOMETRY)
    table.set_policy_generation(world.policy.generation)
    gate = Gate(table)
    gate.clock = (world.now * 10**9, BOOT_NS)
    if how != "no policy":
        gate.load(world.policy)
        assert gate.decide(world.token, PING).grant is not None  # not opened yet
    if how == "stale":
        table.extend_freshness(BOOT_NS, 2**64 - 1)
    elif how == "retired":
        table.retire()
    elif how == "other generation":
        table.set_policy_generation(2)
    for token in (world.token, b"a.b.c"):
        assert gate.decide(token, PING) == Denial(Reason.REVOCATION_UNAVAILABLE, retry=True)


def test_a_table_is_fresh_until_the_instant_that_the_agent_vouched_for(house: Gatehouse) -> None:
    """One nanosecond decides; CLOCK_BOOTTIME, which nobody sets."""
    house.permit(house.world.token).settle()
    house.table.extend_freshness(BOOT_NS + 1, BOOT_NS + 1)
    assert house.reason(house.world.token) is None
    house.table.extend_freshness(BOOT_NS, BOOT_NS + 1)
    assert house.reason(house.world.token) is Reason.REVOCATION_UNAVAILABLE


def test_a_verdict_is_no_truth_value(house: Gatehouse) -> None:
    """Forgetting to test for a Permit fails loudly."""
    with pytest.raises(TypeError, match="isinstance"):
        bool(house.denial(b"a.b.c"))
    with pytest.raises(TypeError, match="only a gate gives permits"):
        Permit()


def test_a_gate_of_a_closed_table_raises(house: Gatehouse) -> None:
    """A closed mapping is never read."""
    house.table.close()
    with pytest.raises(TableError, match="closed"):
        house.gate.decide(house.world.token, PING)


# A new configuration.


def test_a_new_generation_stops_the_gate_until_it_has_loaded_it(house: Gatehouse) -> None:
    """Nothing is judged by an old policy, cached or not; loading the new one mends it."""
    token = house.world.token
    house.permit(token).settle()
    policy = next_policy(house.world.policy)
    house.table.set_policy_generation(policy.generation)
    assert house.reason(token) is Reason.REVOCATION_UNAVAILABLE
    house.gate.load(policy)
    assert house.reason(token) is None


def test_cached_tokens_of_a_removed_key_are_dead_at_once(house: Gatehouse) -> None:
    """What stays in the JWKS decides, not what was verified before; a call in flight must end."""
    token = house.world.token
    with house.permit(token) as permit:
        assert house.gate.counters()["cached_tokens"] == 1
        house.load(next_policy(house.world.policy, keys=()))
        assert house.gate.counters()["cached_tokens"] == 0
        assert house.denial(token) == Denial(Reason.INVALID_TOKEN)
        assert permit.revoked


def test_a_kid_with_another_key_behind_it_is_another_key(house: Gatehouse) -> None:
    """A replaced key is a removed one, whatever it is called."""
    other = World.make().policy.keys
    with house.permit(house.world.token) as permit:
        assert not permit.revoked
        house.load(next_policy(house.world.policy, keys=other))
        assert house.reason(house.world.token) is Reason.INVALID_TOKEN
        assert permit.revoked
    assert other[0].kid == KID


def test_what_a_new_policy_leaves_alone_goes_on(house: Gatehouse) -> None:
    """Another price: calls in flight keep theirs, the next pays the new one."""
    dear = msgspec.structs.replace(house.world.policy.tools[SEARCH], price=20)
    policy = next_policy(house.world.policy, tools=(dear, *house.world.policy.tools[1:]))
    with house.permit(house.world.token) as permit:
        house.load(policy)
        house.world.policy = policy
        assert not permit.revoked
        assert permit.price_micro == 10
    with house.permit(house.world.token) as permit:
        assert permit.price_micro == 20
    assert house.record().settled == 30


def test_a_call_on_a_retired_table_must_end(house: Gatehouse) -> None:
    """Nobody enters revocations there any more."""
    with house.permit(house.world.token) as permit:
        house.table.retire()
        assert permit.revoked


@pytest.mark.parametrize("price", [-1, 2**62])
def test_a_policy_that_cannot_be_is_refused_whole(house: Gatehouse, price: int) -> None:
    """The one in force stays."""
    tool = msgspec.structs.replace(house.world.policy.tools[SEARCH], price=price)
    with pytest.raises(ValueError, match="price"):
        house.gate.load(next_policy(house.world.policy, tools=(tool,)))
    assert house.reason(house.world.token) is None
