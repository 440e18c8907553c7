"""The verdict on what a call uses at an endpoint: the gate compares its id with the token."""

import msgspec
import pytest
from crew_world import BRANCH, CREW, World
from gate_world import Gatehouse
from hypothesis import given
from hypothesis import strategies as st

from crewgate._native.permit import Permit
from crewgate._native.presenter import Presenter
from crewgate.core.ids import EntityKind, uuid_bytes
from crewgate.core.policy.policy import CrewPolicy, ToolPolicy
from crewgate.core.policy.scope import matches, reaches
from crewgate.core.reasons import Reason

ENDPOINT, DELETE = 0, 1
PRICE, PRICE_OF_DELETE = 10, 50


def _world(crew_tools: tuple[str, ...] = ("files.*", "files:prompts.*")) -> World:
    world = World.make()
    crews = tuple(
        msgspec.structs.replace(crew, tools=crew_tools) if isinstance(crew, CrewPolicy) else crew
        for crew in world.policy.crews
    )
    world.policy = msgspec.structs.replace(
        world.policy,
        crews=crews,
        tools=(
            ToolPolicy("files", PRICE, is_endpoint=True),
            ToolPolicy("files.delete", PRICE_OF_DELETE),
        ),
    )
    return world


@pytest.fixture(scope="module")
def house() -> Gatehouse:
    return Gatehouse(_world())


def _reason(house: Gatehouse, granted: list[str], name: str | None) -> Reason | None:
    token = house.world.mint(allowed_tools=granted)
    return house.reason(token, ENDPOINT, price=0, name=name)


def test_a_named_part_costs_the_endpoint_s_price(house: Gatehouse) -> None:
    """A part without a number of its own has the price of its endpoint."""
    token = house.world.mint(allowed_tools=["files.read"])
    permit = house.permit(token, ENDPOINT, name="files.read")
    assert permit.price_micro == PRICE
    permit.settle()


def test_a_part_with_a_number_has_its_own_price(house: Gatehouse) -> None:
    """Such a part needs no name."""
    permit = house.permit(house.world.mint(allowed_tools=["files.delete"]), DELETE)
    assert permit.price_micro == PRICE_OF_DELETE
    permit.settle()


@pytest.mark.parametrize(
    ("granted", "name", "reason"),
    [
        (["files.read"], "files.read", None),
        (["files.*"], "files.read", None),
        (["files.*"], "files.a..b", None),
        (["files.read"], "files.readAll", Reason.TOOL_NOT_ALLOWED),
        (["files.read"], "files.Read", Reason.TOOL_NOT_ALLOWED),
        (["files.*"], "files:prompts.greet", Reason.TOOL_NOT_ALLOWED),
        (["files:prompts.*"], "files:prompts.schöne Grüße", None),
        (["files.read"], None, None),
        (["files:prompts.greet"], None, None),
        (["file.*"], None, Reason.TOOL_NOT_ALLOWED),
        (["filesystem.*"], None, Reason.TOOL_NOT_ALLOWED),
        (["files"], None, Reason.TOOL_NOT_ALLOWED),
    ],
)
def test_a_token_is_compared_with_the_name(
    house: Gatehouse, granted: list[str], name: str | None, reason: Reason | None
) -> None:
    """A name must be covered; without a name it is enough that the token reaches the endpoint."""
    assert _reason(house, granted, name) is reason


def test_the_crew_is_compared_as_well() -> None:
    """A pattern of the token that the crew does not have allows nothing."""
    house = Gatehouse(_world(("files.read",)))
    assert _reason(house, ["files.*"], "files.read") is None
    assert _reason(house, ["files.*"], "files.write") is Reason.TOOL_NOT_ALLOWED


def test_a_permit_tells_what_else_is_allowed(house: Gatehouse) -> None:
    """So a list can be filtered without another verdict."""
    token = house.world.mint(allowed_tools=["files.read"])
    permit = house.permit(token, ENDPOINT, price=0)
    assert permit.allows("files.read")
    assert not permit.allows("files.delete")
    permit.release()


_segments = st.sampled_from(["files", "file", "a", "b"])
_ids = st.lists(_segments, min_size=1, max_size=3).flatmap(
    lambda names: st.lists(
        st.sampled_from(".:"), min_size=len(names) - 1, max_size=len(names) - 1
    ).map(lambda joints: "".join(a + b for a, b in zip(names, [*joints, ""], strict=True)))
)


@given(pattern=_ids | _ids.map(lambda text: text + ".*"), name=_ids)
def test_the_gate_agrees_with_the_rules_of_the_core(
    house: Gatehouse, pattern: str, name: str
) -> None:
    """C and Python compare patterns with names and with endpoints in the same way."""
    granted = Gatehouse(_world((pattern,)))
    token = granted.world.mint(allowed_tools=[pattern])
    allowed = granted.reason(token, ENDPOINT, price=0, name=name) is None
    assert allowed == matches(pattern, name)
    reached = granted.reason(token, ENDPOINT, price=0) is None
    assert reached == reaches(pattern, "files")
    granted.table.close()


def test_the_grant_of_a_free_call_is_given_where_it_would_be_permitted() -> None:
    """And nowhere else; unlike a verdict, it reserves nothing."""
    house = Gatehouse(_world())
    mint = house.world.mint
    good, tool = mint(allowed_tools=["files.*"]), mint(allowed_tools=["files.delete"])
    foreign, expired = mint(allowed_tools=["search.*"]), mint(exp=house.world.now - 600)
    asked = [
        (token, number, peer)
        for token in (good, tool, foreign, expired, b"a.b.c")
        for number in (ENDPOINT, DELETE, -1)
        for peer in (None, CREW, "finance")
    ]

    def given() -> list[bool]:
        """Which calls get a grant, after a comparison of all with their verdicts."""
        grants = []
        for token, number, peer in asked:
            grants.append(house.gate.grant_for(token, number, presenter=Presenter(peer)))
            verdict = house.gate.decide(token, number, presenter=Presenter(peer), price=0)
            is_permit = isinstance(verdict, Permit)
            assert grants[-1] is (verdict.grant if is_permit else None)
            if is_permit:
                verdict.release()
        return [grant is not None for grant in grants]

    assert not any(given())  # the agent has opened no branch yet
    house.permit(good, ENDPOINT).settle()
    assert sum(given()) == 8  # both tools with two tokens and two peers
    house.table.set_policy_generation(2)
    assert not any(given())  # the gate has an old policy
    house.table.set_policy_generation(1)
    house.revoke(EntityKind.BRANCH, uuid_bytes(BRANCH))
    assert not any(given())
