"""What the alerts process sees, stored once, whenever it is killed and whoever does not answer."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import msgspec
import pytest
import trio
import trio.testing
from alert_fakes import LOCAL, NOW, receiver

from crewgate import limits
from crewgate.alerts import observer as observing
from crewgate.alerts.agent_queries import HealthConditions
from crewgate.alerts.machine_assignment import MachineAssignment
from crewgate.alerts.observer import Observer
from crewgate.alerts.outbox import AlertOutbox
from crewgate.alerts.sender import AlertSender
from crewgate.config import Config
from crewgate.core.health import HealthCondition, HealthState
from crewgate.errors import AlertOutboxError, ServiceConnectionError
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.cluster_messages import MemberRow
from crewgate.metrics.restart_counts import RestartCounts

FILE = "agent-20261130T120000.000000Z.jsonl"
HERE = MemberRow("gw-1", "a", "here", "counts", 0, 99, may_revoke=True)
OTHER = MemberRow("gw-2", "b", "alive", "counts", 0, 99, may_revoke=True)


class Agent:
    """What the agent of the machine says, if it answers."""

    answers = True
    conditions: ClassVar[list[HealthCondition]] = []
    rows: ClassVar[list[TreeRow]] = []
    machines: ClassVar[list[MemberRow]] = [HERE, OTHER]

    def __init__(self, folder: Path) -> None:
        assert folder == LOCAL.state

    def _answer(self, found: Any) -> Any:
        if not Agent.answers:
            raise ServiceConnectionError("gone")
        return found

    def health(self) -> HealthConditions:
        return cast(
            "HealthConditions", self._answer(HealthConditions(Agent.conditions, is_whole=True))
        )

    def members(self) -> list[MemberRow]:
        return cast("list[MemberRow]", self._answer(Agent.machines))

    def spending(self, percent: int) -> list[TreeRow]:
        assert percent == 50
        return cast("list[TreeRow]", self._answer(Agent.rows))

    def close(self) -> None:
        pass


class World:
    """The audit of a machine, its outbox, and processes one after the other."""

    def __init__(self, folder: Path, outbox: AlertOutbox) -> None:
        self.audit = folder / FILE
        self.audit.touch()
        self.outbox = outbox
        self.written = 0
        self.restarts: dict[str, int] = {}
        audit = SimpleNamespace(folder=folder)
        config = SimpleNamespace(
            alerts=[receiver()], audit=audit, crews=[], crossings=[], cluster=object()
        )
        self.config = cast("Config", config)
        self.ending = trio.Event()

    def write(self, count: int = 1) -> None:
        """Revoke so many more branches."""
        with self.audit.open("a") as file:
            for _ in range(count):
                file.write(
                    '{"kind":"revocation","time":"2026-11-30T12:00:00Z","target":"branch",'
                    f'"id":"b{self.written}","by":"owner","branch":"b{self.written}"}}\n'
                )
                self.written += 1

    async def run(self) -> None:
        """One process, until `ending` is set or it is killed."""
        counts = SimpleNamespace(read=lambda: self.restarts, serve="serve")
        senders: list[AlertSender] = []
        self.observer = Observer(
            self.config,
            LOCAL,
            self.outbox,
            senders,
            MachineAssignment(),
            cast("RestartCounts", counts),
            lambda: NOW + trio.current_time(),
            trio.current_time,
        )
        await self.observer.run(self.ending)

    def texts(self) -> list[str]:
        return [row.alert.text for row in reversed(self.outbox.rows())]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    async def inline(work: Callable[..., object], *arguments: object) -> object:
        await trio.lowlevel.checkpoint()
        return work(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    monkeypatch.setattr(observing, "AgentQueries", Agent)
    monkeypatch.setattr(Agent, "answers", True)
    for name in ("conditions", "rows"):
        monkeypatch.setattr(Agent, name, [])
    monkeypatch.setattr(Agent, "machines", [HERE, OTHER])
    with AlertOutbox(tmp_path / "state") as outbox:
        yield World(tmp_path, outbox)


async def test_all_that_it_sees_becomes_alerts(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit, the health, the machines, the budgets and the processes; each once."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(20)
        assert world.texts() == []
        world.write()
        await trio.sleep(2)
        assert world.texts()[-1].startswith("branch b0 has ended")
        failed = HealthCondition("ledger", HealthState.FAILED, "it does not answer", since=NOW)
        monkeypatch.setattr(Agent, "conditions", [failed])
        await trio.sleep(3)
        assert world.texts()[-1].startswith("ledger of machine gw-1 is failed")
        monkeypatch.setattr(Agent, "machines", [HERE, msgspec.structs.replace(OTHER, state="dead")])
        await trio.sleep(7)
        assert world.texts()[-1] == "machine gw-2 does not answer, says machine gw-1"
        monkeypatch.setattr(Agent, "rows", [TreeRow("c", "r", "live", quota=10, spent=9)])
        await trio.sleep(7)
        assert "(80 % are reached)" in world.texts()[-1]
        world.restarts = {"worker-0": 1}
        await trio.sleep(3)
        assert world.texts()[-1].startswith("process worker-0 of machine gw-1 has ended")
        await trio.sleep(600)
        assert len(world.texts()) == 5
        world.ending.set()


async def test_it_can_be_killed_at_any_moment(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of each step: nothing is repeated, and nothing forgotten."""
    with trio.move_on_after(5):
        await world.run()
    add = world.outbox.add
    for round_ in range(30):
        world.write(1 + round_ % 3)
        down = HealthCondition("ledger", HealthState.FAILED, "x", since=NOW)
        monkeypatch.setattr(Agent, "conditions", [down] if round_ % 2 else [])
        row = TreeRow("c", f"r{round_}", "live", quota=10, spent=10)
        monkeypatch.setattr(Agent, "rows", [*Agent.rows, row])
        killed, calls = trio.CancelScope(), 0

        def dies(*arguments: Any, at: int = round_ % 5, scope: trio.CancelScope = killed) -> int:
            nonlocal calls
            calls += 1
            if calls == at:
                scope.cancel()
                if at % 2:
                    raise AlertOutboxError("killed before the disk has it")
            return add(*arguments)

        monkeypatch.setattr(world.outbox, "add", dies)
        with killed, trio.move_on_after(1 + 7 * (round_ % 4)):
            await world.run()
    monkeypatch.setattr(world.outbox, "add", add)
    with trio.move_on_after(120):
        await world.run()
    ended = [text.split()[1] for text in world.texts() if " has ended: " in text]
    assert sorted(ended) == sorted(f"b{number}" for number in range(world.written))
    spent = [text.split()[1] for text in world.texts() if "100 %" in text]
    assert sorted(spent) == sorted(f"r{number}" for number in range(30))
    ledger = [text.split()[5] for text in world.texts() if text.startswith("ledger")]
    assert ledger == (["failed:", "ok"] * len(ledger))[: len(ledger)]


async def test_an_agent_that_does_not_answer_is_told_and_harms_no_other_look(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        await trio.sleep(5)
        monkeypatch.setattr(Agent, "answers", False)
        world.write()
        await trio.sleep(limits.alert_agent_seconds + 10)
        first, second = world.texts()
        assert first.startswith("branch b0 has ended")
        assert second == "agent of machine gw-1 is failed: it does not answer"
        world.ending.set()


async def test_what_cannot_be_stored_waits(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk; the position in the audit does not move either."""
    is_full, add = True, world.outbox.add

    def full(*arguments: Any) -> int:
        if is_full:
            raise AlertOutboxError("the disk is full")
        return add(*arguments)

    monkeypatch.setattr(world.outbox, "add", full)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run)
        world.write(2)
        await trio.sleep(60)
        assert world.texts() == []
        assert world.outbox.position() is None
        fact = world.observer.health()
        assert fact.state is HealthState.DEGRADED
        assert fact.why == "the disk is full; no receiver gets new alerts until then"
        is_full = False
        await trio.sleep(5)
        assert world.observer.health().state is HealthState.OK
        assert len(world.texts()) == 2
        world.ending.set()


async def test_the_first_process_does_not_tell_the_past(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway may have an audit of a year; the next process tells what it has missed."""
    await trio.sleep(3600)
    world.write(3)
    world.ending.set()
    await world.run()
    assert world.texts() == []
    world.write(1)
    await world.run()
    assert len(world.texts()) == 1
