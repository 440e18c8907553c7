"""A machine that went down says so at its next start, and what its audit lacks."""

import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import trio
from agent_world import Start

from crewgate.agent import machine_crash_audit_loss, main
from crewgate.cli.commands.init import write_all
from crewgate.config.load import load
from crewgate.core.audit.records import Record, ServiceEvent
from crewgate.errors import LedgerUnavailableError
from crewgate.runtime.process_log import ProcessLog
from crewgate.runtime.readiness import ReadinessNotifier


@pytest.fixture
def boots(tmp_path: Path) -> list[Path]:
    """Two boots of a machine, as the kernel tells them apart."""
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        path.write_text(path.name)
    return paths


def test_only_a_boot_without_an_end_between_is_a_machine_that_went_down(
    tmp_path: Path, boots: list[Path]
) -> None:
    """A killed agent is followed by another of the same boot; an end takes the mark away."""
    one, two = boots
    assert not machine_crash_audit_loss.stopped_uncleanly(tmp_path, one)
    machine_crash_audit_loss.mark_started(tmp_path, one)
    assert not machine_crash_audit_loss.stopped_uncleanly(tmp_path, one)
    assert machine_crash_audit_loss.stopped_uncleanly(tmp_path, two)
    machine_crash_audit_loss.mark_started(tmp_path, two)
    machine_crash_audit_loss.mark_stopped(tmp_path, two)
    assert not machine_crash_audit_loss.stopped_uncleanly(tmp_path, one)
    (tmp_path / "serving").write_bytes(b"")  # as a disk leaves it that lost its power
    assert machine_crash_audit_loss.stopped_uncleanly(tmp_path, one)


def test_a_loss_is_remembered_until_all_is_said(tmp_path: Path, boots: list[Path]) -> None:
    """Over starts that fail, and an agent that ends before it has compared."""
    one, two = boots
    machine_crash_audit_loss.mark_started(tmp_path, one)
    for _ in range(2):
        assert machine_crash_audit_loss.stopped_uncleanly(tmp_path, two)
        machine_crash_audit_loss.mark_stopped(tmp_path, two)
    machine_crash_audit_loss.mark_started(tmp_path, two)
    assert not machine_crash_audit_loss.stopped_uncleanly(tmp_path, two)


def test_a_start_that_fails_leaves_the_loss_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ledger is away: the agent has told nobody yet that the machine went down."""
    file = write_all(tmp_path / "gate", 8443)
    state = load(file).state
    (state / "serving").write_bytes(b"an earlier boot")

    def away(*_: object) -> None:
        raise LedgerUnavailableError("no server", may_pass=True)

    monkeypatch.setattr(main, "open_known_ledger", away)
    with pytest.raises(LedgerUnavailableError):
        main.run(file, ReadinessNotifier(-1), ProcessLog("agent"))
    assert machine_crash_audit_loss.stopped_uncleanly(state)


def test_what_may_be_lost_is_what_the_configuration_says(start: Start) -> None:
    """A person reads how much, and what loses nothing."""
    audit = start().active_config.config.audit
    promises = {
        sync: machine_crash_audit_loss.sync_promise(msgspec.structs.replace(audit, sync=sync))
        for sync in ("second", "each", "never")
    }
    assert "the last second" in promises["second"]
    assert "no line of an answered call is lost" in promises["each"]
    assert "half a minute" in promises["never"]


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> list[list[str]]:
    """What the comparing command says; and how it was asked."""
    asked: list[list[str]] = []

    async def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, text.encode(), b"")

    monkeypatch.setattr(trio, "run_process", run)
    return asked


def row(ledger: int, audit: int) -> dict[str, object]:
    return {"crew": "article", "branch": "b", "ledger_spent_micro": ledger,
            "audit_spent_micro": audit, "leased_micro": 0}  # fmt: skip


async def test_the_ledger_says_what_no_line_tells_of(
    start: Start, monkeypatch: pytest.MonkeyPatch, log_lines: list[str], written: list[Record]
) -> None:
    """What the audit has more is a call that the ledger has not heard of yet: no loss."""
    machine = start()
    rows = [row(3_000_000, 1_000_000), row(500_000, 0), row(0, 9)]
    asked = answer(monkeypatch, json.dumps({"ok": False, "differences": rows}))
    state = machine.active_config.config.state
    (state / "serving").write_bytes(b"an earlier boot")
    await machine_crash_audit_loss.report_lost_records(machine)
    assert not machine_crash_audit_loss.stopped_uncleanly(state)
    assert asked[0][-1] == str(machine.active_config.config.path)
    assert "-P" in asked[0]  # no file of the folder that the agent was started in
    assert "2 branches spent 2.50 credits for which the audit has no line" in log_lines[-1]
    event = written[-1]
    assert isinstance(event, ServiceEvent)
    assert (event.event, event.count) == ("audit-lost", 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps({"ok": True, "differences": []}), "the audit accounts for all"),
        ("crewgate: broken", "could not compare"),
    ],
)
async def test_nothing_is_claimed_that_is_not_known(
    start: Start, monkeypatch: pytest.MonkeyPatch, log_lines: list[str], text: str, says: str
) -> None:
    """A command that fails is no proof of a loss."""
    answer(monkeypatch, text)
    assert await machine_crash_audit_loss.compare(start().active_config.config) == 0
    assert says in log_lines[-1]


async def test_an_audit_that_is_not_whole_is_compared_by_a_person(
    start: Start, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    """Its oldest files went, so the ledger has more in any case."""
    asked = answer(monkeypatch, "")
    config = start().active_config.config
    kept = msgspec.structs.replace(
        config, audit=msgspec.structs.replace(config.audit, keep_bytes=10**9)
    )
    assert await machine_crash_audit_loss.compare(kept) == 0
    assert (asked, "ledger reconcile" in log_lines[-1]) == ([], True)


async def test_an_agent_that_ends_does_not_wait_for_the_comparison(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor would kill the agent before Trio kills a process that goes on."""
    config = start().active_config.config
    ends: list[str] = []

    class Process:
        def terminate(self) -> None:
            ends.append("asked")

        def kill(self) -> None:
            ends.append("killed")

    async def run(
        command: list[str], *, deliver_cancel: Callable[[Process], Awaitable[None]], **_: object
    ) -> subprocess.CompletedProcess[bytes]:
        await deliver_cancel(Process())
        return subprocess.CompletedProcess(command, -9, b"", b"")

    monkeypatch.setattr(trio, "run_process", run)
    await machine_crash_audit_loss.compare(config)
    assert ends == ["killed"]
