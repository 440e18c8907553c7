"""Reports to the service manager: a keep-alive message needs an answer of the agent."""

from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from crewgate import limits
from crewgate.core.health import HealthCondition, HealthState
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.ipc.agent_probe import AgentProbe
from crewgate.runtime.service_manager import ServiceManager
from crewgate.supervisor.service_reporter import ServiceReporter

READY = AgentStatus(
    id=1, ready=True, waiting_for=[], pid=1, life="", fresh=True, policy_generation=1,
    revocation_generation=0, workers=[], embedders=0, counts={},
)  # fmt: skip
WAITING = msgspec.structs.replace(READY, ready=False, waiting_for=["ledger: full", "workers"])


class Manager(ServiceManager):
    """Keeps the messages."""

    def __init__(self, watchdog_seconds: float | None) -> None:
        super().__init__("/", watchdog_seconds)
        self.messages: list[str] = []
        self.is_busy = False

    def send(self, *assignments: str) -> bool:
        if not self.is_busy:
            self.messages += assignments
        return not self.is_busy

    def send_reloading(self) -> bool:
        return self.send("RELOADING=1")

    def taken(self) -> list[str]:
        found, self.messages = self.messages, []
        return found


class World:
    """A service manager, an agent and a clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, watchdog_seconds: float | None) -> None:
        self.seconds = 100.0
        self.manager = Manager(watchdog_seconds)
        self.answer: AgentStatus | str = WAITING
        self.is_silent = False
        self.asked = 0
        monkeypatch.setattr(AgentProbe, "ask", lambda _: self.ask())
        monkeypatch.setattr(AgentProbe, "is_silent", property(lambda _: self.is_silent))
        self.reporter = ServiceReporter(self.manager, Path("/nowhere"), lambda: self.seconds)

    def ask(self) -> AgentStatus | str:
        self.asked += 1
        return self.answer

    def later(self, seconds: float) -> list[str]:
        """What is sent at a check after `seconds`."""
        self.seconds += seconds
        self.reporter.check()
        return self.manager.taken()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, 30.0)


def test_ready_is_said_once_calls_are_served(world: World) -> None:
    """Until then the status text says for what the gateway waits."""
    assert world.later(0) == ["STATUS=refusing calls: waiting for ledger: full (and 1 more)",
                              "WATCHDOG=1"]  # fmt: skip
    assert world.later(limits.service_check_seconds / 2) == []
    world.answer = READY
    assert world.later(limits.service_check_seconds) == [
        "STATUS=serving calls", "READY=1", "WATCHDOG=1"
    ]  # fmt: skip
    world.answer = WAITING
    assert "READY=1" not in world.later(30.0)


def test_a_busy_service_manager_gets_the_message_again(world: World) -> None:
    world.answer, world.manager.is_busy = READY, True
    assert world.later(0) == []
    world.manager.is_busy = False
    assert world.later(1.0) == ["STATUS=serving calls", "READY=1", "WATCHDOG=1"]


def test_a_keep_alive_message_needs_an_agent_that_is_not_stuck(world: World) -> None:
    """One that has ended is started again by the supervisor, which is alive."""
    world.answer = READY
    world.later(0)
    pause = 30.0 / limits.service_checks_in_watchdog
    assert world.reporter.due_in == pause
    world.answer, world.is_silent = "it does not answer", True
    assert world.later(pause) == ["STATUS=waiting for the agent: it does not answer"]
    assert world.later(pause) == []
    assert world.reporter.due_in == limits.service_check_seconds, "a busy agent gets more chances"
    world.answer, world.is_silent = "it has ended", False
    assert world.later(1.0) == ["STATUS=waiting for the agent: it has ended", "WATCHDOG=1"]


def test_an_ill_component_is_named(world: World) -> None:
    ill = HealthCondition("disk", HealthState.DEGRADED, "it is\nslow", "look", since=7.0)
    world.answer = msgspec.structs.replace(READY, health=[ill, HealthCondition("restart")])
    assert world.later(0)[0] == "STATUS=serving calls, but disk: it is slow"


def test_a_reload_ends_with_ready_whatever_its_result(world: World) -> None:
    """The service manager waits for that message."""
    with world.reporter.reloading():
        pass
    assert world.manager.taken() == [], "not before the start is complete"
    world.answer = READY
    world.later(0)
    with suppress(OSError), world.reporter.reloading():
        assert world.manager.taken() == ["RELOADING=1"]
        raise OSError
    assert world.manager.taken() == ["READY=1"]
    assert world.reporter.due_in == 0


def test_an_end_asks_for_the_time_that_it_takes(world: World) -> None:
    world.reporter.stopping(12.5)
    assert world.manager.taken()[:2] == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=12500000"]
    assert world.later(60) == []


def test_without_a_watchdog_no_keep_alive_message_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, None)
    world.answer = READY
    assert world.later(0) == ["STATUS=serving calls", "READY=1"]
    assert world.reporter.due_in == limits.health_settle_seconds


def test_without_a_service_manager_no_agent_is_asked(world: World) -> None:
    """Nothing changes for a gateway that a shell or a container starts."""
    alone = ServiceReporter(None, Path("/nowhere"), lambda: world.seconds)
    alone.check()
    alone.report("x")
    alone.stopping(1.0)
    with alone.reloading():
        pass
    assert world.asked == 0
    assert alone.due_in == float("inf")
