"""What the alerts process hears from the agent, and what it makes of an agent that cannot say."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crewgate.alerts import agent_queries
from crewgate.alerts.agent_queries import AgentQueries
from crewgate.core.health import HealthCondition, HealthState
from crewgate.errors import ServiceConnectionError, ServiceRefusedError


class Agent:
    """Answers as an agent would; counts the connections."""

    def __init__(self) -> None:
        self.connections: list[Path] = []
        self.closed = 0
        self.health = [HealthCondition("ledger")]
        self.more = 0
        self.error: Exception | None = None

    def __call__(self, folder: Path) -> "Agent":
        if isinstance(self.error, ServiceConnectionError):
            raise self.error
        self.connections.append(folder)
        return self

    def status(self) -> Any:
        return SimpleNamespace(health=self.health, health_more=self.more)

    def members(self) -> list[str]:
        if self.error is not None:
            raise self.error
        return ["gw-1"]

    def spending(self, percent: int) -> list[int]:
        return [percent]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    agent = Agent()
    monkeypatch.setattr(agent_queries, "AdminClient", agent)
    return agent


def test_one_connection_serves_until_it_is_closed(agent: Agent) -> None:
    view = AgentQueries(Path("state"))
    assert (view.health().is_whole, view.members(), view.spending(50)) == (True, ["gw-1"], [50])
    assert agent.connections == [Path("state")]
    view.close()
    view.close()
    assert agent.closed == 1
    agent.more = 3
    assert not view.health().is_whole
    assert len(agent.connections) == 2


def test_an_agent_that_does_not_answer_is_an_error(agent: Agent) -> None:
    agent.error = ServiceConnectionError("no agent listens here")
    with pytest.raises(ServiceConnectionError):
        AgentQueries(Path("state")).health()


def test_a_machine_that_cannot_name_its_members_yet_says_nothing(agent: Agent) -> None:
    agent.error = ServiceRefusedError("this machine has no other machines")
    assert AgentQueries(Path("state")).members() is None


def test_without_the_ledger_no_amount_counts(agent: Agent) -> None:
    """They would be those of this machine alone."""
    agent.health = [HealthCondition("ledger", HealthState.FAILED)]
    assert AgentQueries(Path("state")).spending(50) is None
