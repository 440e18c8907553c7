"""A machine that may lack what a majority knows admits only what its owner lets go on without."""

import itertools

import msgspec
import pytest
from crew_world import BRANCH, World
from embedded import denied, permitted, standalone
from gate_world import BOOT_NS, Gatehouse, opened
from hypothesis import given
from hypothesis import strategies as st

from crewgate._native.permit import Permit
from crewgate.core.ids import EntityKind, uuid_bytes
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

CLOSED, OPEN = 0, 1
ALWAYS = 2**64 - 1
REFUSED = Denial(Reason.REVOCATION_UNAVAILABLE, retry=True)


def house_of(*, holds: bool = True) -> Gatehouse:
    """A gate with credit for the world's token, where OPEN is open and all others are closed."""
    world = World.make()
    world.policy = opened(world.policy, OPEN)
    house = Gatehouse(world, holds=holds)
    house.permit(world.token).release()
    house.draw(world.grant, 1000)
    return house


@pytest.fixture
def house() -> Gatehouse:
    return house_of()


@pytest.fixture(scope="module")
def embedded() -> Gatehouse:
    return house_of(holds=False)


COMBINATIONS = list(itertools.product([True, False], repeat=5))


@pytest.mark.parametrize(("fresh", "synced", "is_open", "holds", "observe"), COMBINATIONS)
def test_fresh_is_for_all_and_synced_for_the_closed(
    fresh: bool, synced: bool, is_open: bool, holds: bool, observe: bool
) -> None:
    """In a worker as in an embedder; who is only observed is held to it as well."""
    house = house_of(holds=holds)
    house.table.extend_freshness(BOOT_NS + fresh, BOOT_NS + synced)
    verdict = house.gate.decide(house.world.token, OPEN if is_open else CLOSED, observe=observe)
    if fresh and (synced or is_open):
        assert isinstance(verdict, Permit)
        verdict.settle()
    else:
        assert verdict == REFUSED


@given(
    boot=st.integers(1, 2**63), fresh=st.integers(0, ALWAYS), synced=st.integers(0, ALWAYS),
    tool=st.sampled_from([CLOSED, OPEN]),
)  # fmt: skip
def test_any_times_are_judged_as_the_rule_says(
    embedded: Gatehouse, boot: int, fresh: int, synced: int, tool: int
) -> None:
    """Both are bounds of CLOCK_BOOTTIME that are not themselves within."""
    house = embedded
    house.gate.clock = (house.world.now * 10**9, boot)
    house.table.extend_freshness(fresh, synced)
    admits = boot < fresh and (boot < synced or tool == OPEN)
    verdict = house.gate.decide(house.world.token, tool)
    assert isinstance(verdict, Permit) is admits
    if isinstance(verdict, Permit):
        verdict.release()


def test_what_cannot_change_is_said_all_the_same(house: Gatehouse) -> None:
    """A bad token stays bad and the dead stay dead; without a good token all tools look alike."""
    house.table.extend_freshness(ALWAYS, BOOT_NS)
    for tool in (CLOSED, OPEN, -1, 99):
        assert house.reason(b"a.b.c", tool) is Reason.INVALID_TOKEN
    house.revoke(EntityKind.BRANCH, uuid_bytes(BRANCH))
    for tool in (CLOSED, OPEN, -1):
        assert house.reason(house.world.token, tool) is Reason.BRANCH_REVOKED


@pytest.mark.parametrize("tool", [-1, -(2**40), 5, 2**40])
def test_a_tool_that_does_not_exist_is_closed(house: Gatehouse, tool: int) -> None:
    """A token that may be dead elsewhere is not told what there is here."""
    house.table.extend_freshness(ALWAYS, BOOT_NS)
    assert house.gate.decide(house.world.token, tool) == REFUSED
    house.table.extend_freshness(ALWAYS, ALWAYS)
    assert house.reason(house.world.token, tool) is Reason.UNKNOWN_TOOL


def test_an_open_tool_is_judged_like_any_other(house: Gatehouse) -> None:
    """By scope and credit, and it is charged."""
    house.table.extend_freshness(ALWAYS, 0)
    narrow = house.world.mint(allowed_tools=["search.*"])
    assert house.reason(narrow, OPEN) is Reason.TOOL_NOT_ALLOWED
    house.permit(house.world.token, OPEN).settle()
    assert house.record().settled == 5


def test_a_new_policy_opens_and_closes(house: Gatehouse) -> None:
    """From the next call on."""
    house.table.extend_freshness(ALWAYS, 0)
    policy = msgspec.structs.replace(house.world.policy, generation=2)
    house.load(opened(policy, CLOSED))
    assert house.reason(house.world.token, CLOSED) is None
    assert house.gate.decide(house.world.token, OPEN) == REFUSED


def test_a_retired_table_admits_nothing_open_either(house: Gatehouse) -> None:
    """Nobody enters anything there any more."""
    house.table.retire()
    assert house.gate.decide(house.world.token, OPEN) == REFUSED


# In a program.


def test_an_embedder_is_held_to_the_same() -> None:
    """`decide` and `admit_blocking` say so."""
    world = World.make()
    with standalone(world) as verifier:
        permitted(verifier.decide(world.token, "search.web"))
        judge = verifier._source.judge
        judge.gate.load(opened(judge.policy, list(judge.numbers).index("embeddings.create")))
        judge.table.extend_freshness(ALWAYS, 0)  # type: ignore[attr-defined]
        assert denied(verifier.decide(world.token, "search.web")) == REFUSED
        assert denied(verifier.admit_blocking(world.token, "search.web")) == REFUSED
        permitted(verifier.decide(world.token, "embeddings.create"))
        judge.table.extend_freshness(ALWAYS, ALWAYS)  # type: ignore[attr-defined]
        permitted(verifier.decide(world.token, "search.web"))
