"""Keys of names that the gate remembers are the keys of `core.ids`."""

import uuid

from crew_world import World

from crewgate._native.gate import Gate
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial


def granted(gate: Gate, token: bytes) -> Grant:
    """What the token grants; nobody has opened its branch."""
    verdict = gate.decide(token, 0)
    assert isinstance(verdict, Denial)
    assert verdict.grant is not None
    return verdict.grant


def test_names_that_displace_one_another_keep_their_keys() -> None:
    """More branches than there are places, each seen twice, under two crews: every key is exact."""
    world = World.make(crews=("article", "finance"))
    table = OwnedTable.private(TableCapacities(64, 64, 64, 2))
    table.set_policy_generation(world.policy.generation)
    gate = Gate(table)
    gate.load(world.policy)
    branches = [str(uuid.UUID(int=number)) for number in range(1, 700)] * 2
    for number, branch in enumerate(branches):
        crew = ("article", "finance")[number % 3 == 0]
        token = world.mint(crew, execution_branch_id=branch, branch_path=[])
        assert granted(gate, token).branch_key == ids.branch_key(crew, branch)


def test_a_long_name_has_its_own_key() -> None:
    """A process of 128 characters, too long to be remembered, is revoked by its key alone."""
    world = World.make()
    table = OwnedTable.private(TableCapacities(64, 64, 64, 2))
    table.set_policy_generation(world.policy.generation)
    gate = Gate(table)
    gate.load(world.policy)
    names = ["p" * 127 + last for last in "ab"]
    for _ in range(2):
        tokens = [world.mint(process_id=name) for name in names]
        assert all(granted(gate, token).claims.process_id in names for token in tokens)
    key = ids.table_key(ids.EntityKind.PROCESS, "article", names[0].encode())
    table.revoke(key, ids.crew_key("article"), world.now + 60, 900, world.now, 1)
    reasons = [gate.decide(token, 0).reason.value for token in tokens]  # type: ignore[union-attr]
    assert reasons == ["branch-revoked", "budget-unavailable"]
