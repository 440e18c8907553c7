"""The control process at work says what is wrong with the CA's books, and mends its list."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from ca_world import BD, Agent, first
from cryptography import x509
from full_register import full_list
from log_lines import logged

from crewgate import limits
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.config import Config
from crewgate.control import server as server_
from crewgate.control.ca_service import CAService
from crewgate.control.health import ControlHealth
from crewgate.control.register_upkeep import RegisterState, keep_up
from crewgate.control.server import ControlServer
from crewgate.core.health import ComponentHealth, HealthState
from crewgate.errors import CAError
from crewgate.lifecycle import orchestrator_decommission
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunStore
from crewgate.lifecycle.processes import this
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.process_log import RepetitionFilter


@contextmanager
def served(
    config: Config, folder: Path, office: Any
) -> Iterator[tuple[ControlServer, ControlHealth]]:
    """Its tasks are for the test to run."""
    sink = AuditRecorder(AuditWriter(folder / "audit", "control"))
    health = ControlHealth(config.state, folder, sink)
    health.is_serving = True
    watch = FileWatch((config.path,))
    serving = ControlServer(config, watch, office, sink, health)
    try:
        yield serving, health
    finally:
        serving._poller.close()
        sink.close()


def troubles(health: ControlHealth) -> list[ComponentHealth]:
    return [fact for fact in health.facts() if fact.state is not HealthState.OK]


async def test_revocations_that_are_not_written_are_in_the_health(
    config: Config, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """As long as the register does not take them, and no longer; the log has them once."""

    async def keep_up(patience: float) -> RegisterState:
        """All but the writing."""
        return RegisterState("", "", has_runs=False)

    async def publish() -> None:
        """The list is another matter."""

    why = "issued.sqlite: disk is full"
    office: Any = SimpleNamespace(unwritten_reason=why, keep_up=keep_up, publish=publish)
    with (
        served(config, tmp_path, office) as (serving, health),
        logged(RepetitionFilter()) as lines,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving._keep_up)
            await trio.sleep(10)
            (fact,) = troubles(health)
            assert fact.component == "control: register"
            assert "not written down: issued.sqlite: disk is full" in fact.why
            office.unwritten_reason = ""
            await trio.sleep(10)
            assert troubles(health) == []
            nursery.cancel_scope.cancel()
    assert sum("disk is full" in line for line in lines) == 1


async def test_a_list_that_lacks_what_is_revoked_is_in_the_health_until_it_is_written(
    config: Config, tmp_path: Path, desk: CAService, agent: Agent,
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A second after there is room; its disk is tried once a second meanwhile."""
    tried: list[float] = []

    class Office:
        unwritten_reason = ""

        async def publish(self) -> None:
            desk.publish()

        async def keep_up(self, patience: float) -> RegisterState:
            tried.append(trio.current_time())
            return keep_up(desk, patience)

    assert config.ca is not None
    with served(config, tmp_path, Office()) as (serving, health):
        await serving._publish()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving._keep_up)
            with full_list(monkeypatch):
                desk.revoke_certificate(first(desk, BD).serial, "superseded")
                await trio.sleep(2.2)
                (fact,) = troubles(health)
                assert fact.component == "control: CRL"
                assert "it lacks revocations that the register has: " in fact.why
                assert "crl.pem: cannot be written: No space left on device; make room" in fact.why
                assert len(tried) == 3
            await trio.sleep(1)
            assert troubles(health) == []
            assert len(x509.load_pem_x509_crl(config.ca.crl.read_bytes())) == 1
            nursery.cancel_scope.cancel()


async def test_a_list_that_was_not_renewed_is_due_at_once(
    config: Config, tmp_path: Path, desk: CAService, autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """That of another CA, which names all that is revoked, may be about to end."""

    async def publish() -> None:
        desk.publish()

    async def nothing_left(patience: float) -> RegisterState:
        return RegisterState("", "", has_runs=False)

    office = SimpleNamespace(publish=publish, keep_up=nothing_left, unwritten_reason="")
    with served(config, tmp_path, office) as (serving, health):
        await serving._publish()
        with full_list(monkeypatch):
            await serving._publish()
        (fact,) = troubles(health)
        assert "it is not renewed: " in fact.why
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving._keep_up)
            await trio.sleep(1.5)
            assert troubles(health) == []
            nursery.cancel_scope.cancel()


async def test_a_life_that_cannot_be_looked_at_is_in_the_health(
    config: Config, tmp_path: Path, autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It may be dead, and its certificates good; once it can be looked at, all is well."""

    def refuse(register: Path, number: int) -> bool:
        raise CAError("lives.lock: cannot be opened")

    assert config.ca is not None
    with OrchestratorRunStore(config.ca.register) as lives:
        lives.begin("bd", "bd-1", this(), BD.instance, lambda _: None)
    with served(config, tmp_path, None) as (serving, health):
        said = []
        for beats in (refuse, lambda *_: True):
            monkeypatch.setattr(orchestrator_decommission, "is_held", beats)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serving._end_orchestrators)
                await trio.sleep(0.5)
                nursery.cancel_scope.cancel()  # a look that has begun is still finished
            said.append([f"{fact.component}: {fact.why}" for fact in troubles(health)])
        (before,), after = said
        assert before == (
            "control: decommissions: they are not complete: bd/bd-1: lives.lock: cannot be opened"
        )
        assert after == []


async def test_a_run_in_the_register_is_looked_after_each_second(
    config: Config, tmp_path: Path, desk: CAService, autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Without one, the control process looks now and then."""
    looks: list[float] = []

    def look(*_: object) -> list[object]:
        looks.append(trio.current_time())
        return []

    async def at_once(act: Callable[..., object], *arguments: object) -> object:
        return act(*arguments)

    class Office:
        unwritten_reason = ""

        async def publish(self) -> None:
            desk.publish()

        async def keep_up(self, patience: float) -> RegisterState:
            return keep_up(desk, patience)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)  # a thread's time is not the clock's
    monkeypatch.setattr(server_, "complete_intents", look)
    with served(config, tmp_path, Office()) as (serving, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving._keep_up)
            nursery.start_soon(serving._end_orchestrators)
            await trio.sleep(limits.runs_look_seconds + 0.2)
            assert len(looks) == 2
            assert config.ca is not None
            with OrchestratorRunStore(config.ca.register) as runs:
                runs.begin("bd", "bd-1", this(), BD.instance, lambda _: None)
            await trio.sleep(5)
            assert len(looks) == 7
            nursery.cancel_scope.cancel()
