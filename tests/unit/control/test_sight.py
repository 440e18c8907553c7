"""The shared table, as the control process sees it."""

import pytest
from control_world import Machine
from world import World

from crewgate import limits
from crewgate.config import Config
from crewgate.control.sight import Sight, keys_of
from crewgate.core.ids import Kind, branch_key, uuid_bytes
from crewgate.errors import LinkError
from crewgate.issuer.inspection import read_claims


def test_everything_that_a_token_names_is_looked_up() -> None:
    """Grant, process, orchestrator, key, crew, its branch and each ancestor, once each."""
    claims = read_claims(World.make().token.decode())
    keys = keys_of(claims, "article-1")
    assert len(set(keys)) == len(keys) == 5 + 1 + len(claims.branch_path)
    for element in claims.branch_path:
        assert branch_key(claims.crew, element.id) in keys


def test_a_table_is_mapped_for_a_second_and_then_anew(
    config: Config, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look is free; one at a table that was retired is not taken."""
    claims = read_claims(World.make().token.decode())
    sight = Sight(config.state)
    monkeypatch.setattr(limits, "tree_seconds", 3600.0)
    assert not sight.is_dead(claims, "article-1")
    machine.away = True
    machine.revoke(Kind.BRANCH, claims.crew, uuid_bytes(claims.execution_branch_id))
    assert sight.is_dead(claims, "article-1")
    machine.table.retire()
    with pytest.raises(LinkError):
        sight.is_dead(claims, "article-1")
    sight.close()
    sight.close()
