"""The agent's word, asked for once and shared."""

from pathlib import Path

import pytest

from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import BranchResponse
from crewgate.control.agent_cache import AgentCache, CacheBackedGatewayClient
from crewgate.control.token_revocation_check import TokenRevocationCheck
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.machine_messages import THIS_MACHINE
from crewgate.issuer.branches.local_gateway import BranchUsage
from crewgate.runtime.single_flight_cache import SingleFlightCache


def test_an_orchestrator_hears_of_its_own_crew_s_branches(tmp_path: Path) -> None:
    """What is held counts as spent; a branch of another crew with the same id is not meant."""
    graph = AgentCache(tmp_path)

    def row(crew: str, state: str, spent: int) -> BranchResponse:
        return BranchResponse(
            crew=crew, branch="b", state=state, spent_micro=spent, reserved_micro=1, burned_micro=2
        )

    graph.tree = SingleFlightCache(
        lambda: BranchTreeSnapshot([row("bd", "live", 10), row("fin", "closed", 90)]), 1.0
    )
    table = TokenRevocationCheck(tmp_path)
    bd, fin = (
        CacheBackedGatewayClient(graph, table, crew).usage({"b", "c"}) for crew in ("bd", "fin")
    )
    assert bd == {"b": BranchUsage(spent_micro=13, is_revoked=False)}
    assert fin == {"b": BranchUsage(spent_micro=93, is_revoked=True)}


def test_minting_asks_no_other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does not answer must not delay a token; clients of the API see all trees."""
    asked: list[str] = []

    def answer(_: AgentCache, machine: str) -> BranchTreeSnapshot:
        asked.append(machine)
        return BranchTreeSnapshot()

    monkeypatch.setattr(AgentCache, "tree_of", answer)
    graph = AgentCache(tmp_path)
    CacheBackedGatewayClient(graph, TokenRevocationCheck(tmp_path), "bd").usage({"b"})
    graph.cluster_tree.get()
    assert asked == [THIS_MACHINE, ""]


def test_no_agent_is_an_error_and_not_an_empty_tree(tmp_path: Path) -> None:
    """Nobody mints on a guess."""
    graph = AgentCache(tmp_path)
    with pytest.raises(ServiceConnectionError):
        CacheBackedGatewayClient(graph, TokenRevocationCheck(tmp_path), "bd").usage({"b"})
    with pytest.raises(ServiceConnectionError):
        graph.status.get()
