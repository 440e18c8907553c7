"""Which chains of actors (RFC 8693, section 4.1) a token may have."""

from typing import Any

import pytest
from crew_world import World
from gate_world import Gatehouse

from crewgate import limits
from crewgate.core.reasons import Reason

WORLD = World.make()
HOLDER: dict[str, Any] = {"sub": "r", "act": {"sub": "lead", "act": {"sub": "article/article-1"}}}


def chain(length: int) -> dict[str, Any]:
    """So many actors in each other."""
    found: dict[str, Any] = {"sub": "article/article-1"}
    for _ in range(length - 1):
        found = {"sub": "r", "act": found}
    return found


def test_a_branch_has_an_actor_for_itself_and_for_each_ancestor() -> None:
    """The token of a branch two levels below its run has three."""
    token = WORLD.mint(act={**HOLDER, "iss": "https://other"})  # members that we do not know
    with Gatehouse(WORLD).permit(token) as permit:
        act = permit.grant.claims.act
        assert act is not None
        assert act.names == ["article/article-1", "lead", "r"]


def test_the_deepest_branch_can_have_its_actors() -> None:
    """As many objects in each other as a token may have."""
    path = [
        {"id": f"0199c1d2-0000-7000-8000-{number:012x}", "credit_quota": 10_000_000}
        for number in range(100, 100 + limits.depth_max)
    ]
    token = WORLD.mint(act=chain(limits.depth_max + 1), branch_path=path)
    assert Gatehouse(WORLD).reason(token) is not Reason.INVALID_TOKEN


@pytest.mark.parametrize(
    "act",
    [
        chain(2),
        chain(4),
        chain(30),
        {},
        [],
        "article/article-1",
        {**HOLDER, "act": None},
        {**HOLDER, "sub": "two words"},
        {**HOLDER, "sub": 7},
        {**HOLDER, "sub": ""},
        {"sub": "r", "act": {"sub": "lead", "act": {"sub": "x", "act": None}}},
        {"sub": "r", "act": {"sub": "lead", "act": {"sub": "a\u0000"}}},
    ],
)
def test_no_other_chain_is_admitted(act: object) -> None:
    """An actor too few or too many would name the wrong agent for a branch."""
    assert Gatehouse(WORLD).reason(WORLD.mint(act=act)) is Reason.INVALID_TOKEN
