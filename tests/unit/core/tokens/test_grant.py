"""What a token names, as the table is asked for it."""

from crew_world import KID, World
from gate_world import Gatehouse

from crewgate.core.ids import branch_key
from crewgate.core.revocation_kinds import NAMED_IN_TOKENS, keys_of


def test_everything_that_a_token_names_is_what_the_gate_looks_up() -> None:
    """What its claims name, key, crew, its branch and each ancestor, once each."""
    world = World.make()
    with Gatehouse(world).permit(world.token) as permit:
        claims = permit.grant.claims
        keys = keys_of(claims, KID)
        assert sorted(keys) == sorted(permit.revocable)
    named = sum(2 if each.spans_crews else 1 for each in NAMED_IN_TOKENS) + 2
    assert len(set(keys)) == len(keys) == named + 1 + len(claims.branch_path)
    assert claims.branch_path
    for element in claims.branch_path:
        assert branch_key(claims.crew, element.id) in keys
