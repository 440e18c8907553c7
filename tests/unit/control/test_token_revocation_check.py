"""The shared table, as the control process sees it."""

import pytest
from control_world import ALWAYS_NS, NOW_BOOT_NS, Machine
from crew_world import World

from crewgate import limits
from crewgate.config import Config
from crewgate.control import token_revocation_check as sight_
from crewgate.control.token_revocation_check import TokenRevocationCheck
from crewgate.core.ids import EntityKind, uuid_bytes
from crewgate.errors import ServiceConnectionError
from crewgate.issuer.inspection import read_claims


def test_a_table_is_mapped_for_a_second_and_then_anew(
    config: Config, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look is free; one at a table that was retired is not taken."""
    claims = read_claims(World.make().token.decode())
    sight = TokenRevocationCheck(config.state)
    monkeypatch.setattr(limits, "tree_seconds", 3600.0)
    assert not sight.is_dead(claims, "article-1")
    machine.away = True
    machine.revoke(EntityKind.BRANCH, claims.crew, uuid_bytes(claims.execution_branch_id))
    assert sight.is_dead(claims, "article-1")
    machine.table.retire()
    with pytest.raises(ServiceConnectionError):
        sight.is_dead(claims, "article-1")
    sight.close()
    sight.close()


@pytest.mark.parametrize("word", [0, 1], ids=["vouched for", "synced"])
def test_nobody_is_called_alive_past_either_bound(
    config: Config, machine: Machine, monkeypatch: pytest.MonkeyPatch, word: int
) -> None:
    """At the very nanosecond, as at the gate; who is known to be dead is not told either."""
    claims = read_claims(World.make().token.decode())
    monkeypatch.setattr(sight_.time, "clock_gettime_ns", lambda clock: NOW_BOOT_NS)
    sight = TokenRevocationCheck(config.state)
    until = [ALWAYS_NS, ALWAYS_NS]
    until[word] = NOW_BOOT_NS + 1
    machine.table.extend_freshness(*until)
    assert not sight.is_dead(claims, "article-1")
    machine.revoke(EntityKind.BRANCH, claims.crew, uuid_bytes(claims.execution_branch_id))
    until[word] = NOW_BOOT_NS
    machine.table.extend_freshness(*until)
    with pytest.raises(
        ServiceConnectionError,
        match=["does not confirm that the table is fresh", "a majority of the members"][word],
    ):
        sight.is_dead(claims, "article-1")
    sight.close()
