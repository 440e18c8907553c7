"""What the probes say of an agent that is well, ill, absent or stuck."""

import json
import socket
import time
from pathlib import Path
from typing import Self

import pytest

from crewgate import limits
from crewgate.admin.probes import Probes
from crewgate.core.health import HealthCondition, HealthState
from crewgate.errors import ServiceConnectionError
from crewgate.ipc import agent_probe
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.ipc.sockets import AgentSocketKind
from crewgate.server.plaintext_http1 import PlaintextResponse


class Agent:
    """Stands for the client of an agent: it answers `status`, or raises it."""

    status_or_error: AgentStatus | ServiceConnectionError
    asked = 0

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def status(self) -> AgentStatus:
        type(self).asked += 1
        if isinstance(self.status_or_error, ServiceConnectionError):
            raise self.status_or_error
        return self.status_or_error


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> type[Agent]:
    monkeypatch.setattr(agent_probe, "AdminClient", Agent)
    Agent.asked = 0
    return Agent


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def machine(state: HealthState = HealthState.OK) -> AgentStatus:
    """The status of a machine of which one component is in `state`."""
    condition = HealthCondition("ledger", state, "it is full", "make room", since=7.0)
    waiting = ["ledger: it is full"] if state is HealthState.FAILED else []
    return AgentStatus(
        id=1,
        ready=not waiting,
        waiting_for=waiting,
        pid=7,
        life="ab" * 16,
        fresh=True,
        policy_generation=1,
        revocation_generation=1,
        workers=[],
        embedders=0,
        counts={},
        state=state,
        health=[condition],
    )


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        (HealthState.OK, 200, "ok"),
        (HealthState.DEGRADED, 200, "degraded"),
        (HealthState.FAILED, 503, "waiting"),
    ],
)
def test_readiness_is_that_of_the_agent(
    agent: type[Agent], state: HealthState, status: int, word: str
) -> None:
    agent.status_or_error = machine(state)
    answer = Probes(Path()).ready()
    found = json.loads(answer.body)
    assert (answer.status, answer.media, found["status"]) == (status, "application/json", word)
    assert [each["component"] for each in found["troubles"]] == ["ledger"] * (word != "ok")
    assert Probes(Path()).live() == PlaintextResponse(200, b"ok\n")


def test_an_absent_agent_is_not_ready_and_no_reason_for_a_restart(tmp_path: Path) -> None:
    """`crewgate serve` starts it again, however long its ledger is away."""
    clock = Clock()
    probe = Probes(tmp_path, clock)
    for _ in range(3):
        answer = probe.ready()
        assert answer.status == 503
        assert json.loads(answer.body)["waiting_for"][0].startswith("agent: ")
        assert probe.live().status == 200
        clock.seconds += limits.admin_stuck_seconds


def test_a_stuck_agent_is_a_reason_once_it_has_lasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and answers none, over a real socket."""
    monkeypatch.setattr(limits, "admin_agent_seconds", 0.01)
    clock = Clock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stuck:
        stuck.bind(str(tmp_path / AgentSocketKind.OWNER.value))
        stuck.listen()
        probe = Probes(tmp_path, clock)
        assert (probe.live().status, probe.ready().status) == (200, 503)
        clock.seconds += limits.admin_stuck_seconds - 1
        assert probe.live().status == 200
        clock.seconds += 1
        answer = probe.live()
        assert answer.status == 503
        assert b"has not answered for 30 s" in answer.body
    # The agent has ended, and another one may come.
    clock.seconds += limits.admin_status_seconds
    assert probe.live().status == 200


def test_a_stuck_agent_delays_a_probe_by_less_than_a_kubelet_waits(tmp_path: Path) -> None:
    """Otherwise the probe would fail long before the agent has been silent for too long."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stuck:
        stuck.bind(str(tmp_path / AgentSocketKind.OWNER.value))
        stuck.listen()
        before = time.monotonic()
        assert Probes(tmp_path).live().status == 200
        assert time.monotonic() - before < 1.0


def test_an_agent_that_answers_again_is_well(agent: type[Agent]) -> None:
    clock = Clock()
    probe = Probes(Path(), clock)
    silent = ServiceConnectionError("it does not answer")
    silent.__cause__ = TimeoutError()
    agent.status_or_error = silent
    assert probe.live().status == 200
    clock.seconds += limits.admin_stuck_seconds
    agent.status_or_error = machine()
    assert (probe.live().status, probe.ready().status) == (200, 200)
    agent.status_or_error = silent
    clock.seconds += limits.admin_status_seconds
    assert probe.live().status == 200  # the time begins anew


def test_the_agent_is_asked_once_a_second(agent: type[Agent]) -> None:
    """Its refusal to answer is remembered as well: many probes wait for one question."""
    clock = Clock()
    probe = Probes(Path(), clock)
    for answer in (machine(), ServiceConnectionError("gone")):
        agent.status_or_error = answer
        before = agent.asked
        for _ in range(5):
            probe.live()
            probe.ready()
        assert agent.asked == before + 1
        clock.seconds += limits.admin_status_seconds
