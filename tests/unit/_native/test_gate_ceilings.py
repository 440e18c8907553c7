"""The ceilings of roles and of orchestrators: the gate applies them beside those of the crew."""

from typing import Any

import msgspec
from crew_world import BRANCH, CREW, PARENT, ROOT, World
from gate_world import Gatehouse
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.policy.policy import Ceiling, CrewPolicy
from crewgate.core.policy.scope import within
from crewgate.core.reasons import Reason

ALL = ("search.*", "embeddings.create", "free.*", "publish.*", "audit.*")
ORCHESTRATOR = f"{CREW}/article-1"


def house_of(**limits: Any) -> Gatehouse:
    """A gate whose crew has these roles and orchestrators."""
    return Gatehouse(World.make(**limits))


def ceiling(**changes: Any) -> Ceiling:
    return Ceiling(**{"label": "x", "tools": ALL, **changes})


def test_a_role_that_is_not_listed_is_refused_where_roles_are_listed() -> None:
    """The refusal comes after the signature, and tells which claim is wrong."""
    house = house_of(roles={"writer": ceiling()})
    assert house.reason(house.world.token) is Reason.ROLE_NOT_ALLOWED
    assert house.reason(house.world.mint(agent_role="writer")) is None
    forged = World.make().mint(agent_role="x")
    assert house.reason(forged) is Reason.INVALID_TOKEN


def test_another_crew_lists_its_own_roles() -> None:
    """The names of roles belong to one crew."""
    world = World.make(crews=(CREW, "bd"))
    first, second = world.policy.crews
    listed = msgspec.structs.replace(first, roles={"writer": ceiling()})
    world.policy = msgspec.structs.replace(world.policy, crews=(listed, second))
    house = Gatehouse(world)
    assert house.reason(world.mint()) is Reason.ROLE_NOT_ALLOWED
    assert house.reason(world.mint("bd", client_id="bd/bd-1")) is None


def test_a_reload_changes_the_ceilings_of_tokens_that_were_admitted() -> None:
    """A role that the next configuration does not list is refused from then on."""
    house = house_of(roles={"researcher": ceiling()})
    assert house.reason(house.world.token) is None
    crew = msgspec.structs.replace(house.world.policy.crews[0], roles={"writer": ceiling()})
    house.load(msgspec.structs.replace(house.world.policy, crews=(crew,), generation=2))
    assert house.reason(house.world.token) is Reason.ROLE_NOT_ALLOWED


def test_the_quota_of_an_orchestrator_bounds_every_branch_of_the_path() -> None:
    """A child cannot raise its parent above the ceiling by what its path states."""
    house = house_of(orchestrators={ORCHESTRATOR: ceiling(quota_max=30)})
    assert house.reason(house.world.token) is None
    assert [house.record(branch).quota for branch in (ROOT, PARENT, BRANCH)] == [30, 30, 30]


CEILINGS = st.builds(
    ceiling,
    tools=st.sampled_from([(), ("search.*",), ("search.web", "free.*"), ("embeddings.create",)]),
    quota_max=st.sampled_from([0, 5, 10, 10**6]),
    lifetime_seconds_max=st.sampled_from([60, 900]),
    depth_max=st.integers(0, 2),
    requires_binding=st.booleans(),
)
ROLES = st.dictionaries(st.sampled_from(["researcher", "writer"]), CEILINGS)
ORCHESTRATORS = st.dictionaries(st.sampled_from([ORCHESTRATOR, f"{CREW}/other"]), CEILINGS)


def model(crew: CrewPolicy, claims: dict[str, Any], tool: int) -> Reason | None:
    """The verdict as the configuration's documentation says it, in the gate's order."""
    applied = [crew, crew.roles.get(claims["agent_role"]), crew.orchestrators.get(ORCHESTRATOR)]
    limits = [each for each in applied if each is not None]
    name, price = (("search.web", 10), ("embeddings.create", 5), ("free.ping", 0))[tool]
    if crew.roles and claims["agent_role"] not in crew.roles:
        return Reason.ROLE_NOT_ALLOWED
    if any(claims["exp"] - claims["iat"] > each.lifetime_seconds_max for each in limits):
        return Reason.TOKEN_LIFETIME
    if any(len(claims["branch_path"]) > each.depth_max for each in limits):
        return Reason.TOKEN_CEILING
    if any(each.requires_binding for each in limits):
        return Reason.TOKEN_UNBOUND
    if not all(within([name], each.tools) for each in limits):
        return Reason.TOOL_NOT_ALLOWED
    quota = min([claims["credit_quota"], *(each.quota_max for each in limits)])
    return Reason.CREDITS_EXHAUSTED if price > quota else None


@given(ROLES, ORCHESTRATORS, st.integers(0, 2), st.sampled_from([60, 900]), st.integers(0, 2))
def test_the_gate_agrees_with_a_slow_model(
    roles: dict[str, Ceiling],
    orchestrators: dict[str, Ceiling],
    tool: int,
    lifetime: int,
    depth: int,
) -> None:
    """All three ceilings apply at once, and the strictest one decides."""
    house = house_of(roles=roles, orchestrators=orchestrators, quota_max=7)
    claims = house.world.claims(exp=house.world.now + lifetime)
    claims["branch_path"] = claims["branch_path"][:depth]
    token = house.world.mint(**claims)
    assert house.reason(token, tool) is model(house.world.policy.crews[0], claims, tool)
