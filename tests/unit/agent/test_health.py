"""What the agent knows of its machine's health, and what other processes report to it."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import trio
from agent_world import Hands, S, Start
from grant_builders import NOW, branch_id, grant
from revocation_targets import branch

from crewgate import limits
from crewgate.agent import health, periodic
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.ipc_server.nonworker_health_reports import NonWorkerHealthReports
from crewgate.agent.state import AgentState
from crewgate.agent.status import status
from crewgate.audit.writer import AuditWriter
from crewgate.config.restart_only import WAY_OUT
from crewgate.core.health import ComponentHealth, HealthState, degraded, failed, ok
from crewgate.core.policy.policy import CrewPolicy
from crewgate.ipc.admin_messages import ProcessHealthReport, ReportSource
from crewgate.ipc.attach_messages import VERSION, Attach
from crewgate.leases.branch_opening import DrawResult as DrawStatus
from crewgate.runtime.folder_write_probe import (
    FolderWriteProbe,
    shortages,
    watch_folders,
    write_errors,
)


@pytest.fixture
def machine(start: Start, hands: Hands) -> AgentState:
    """One that is vouched for, without workers."""
    machine = start()
    periodic.extend_freshness(machine, ClockMonitor(hands.wall_ns(), hands.boot_ns()))
    return machine


def pass_silence(machine: AgentState, hands: Hands) -> None:
    """As long as a process may say nothing, and more, while the agent looks every second."""
    for _ in range(round(limits.health_silence_seconds) + 1):
        hands.go(1)
        periodic.extend_freshness(machine, ClockMonitor(hands.wall_ns(), hands.boot_ns()))
        health.update(machine)


def _troubles(machine: AgentState) -> dict[str, tuple[str, str]]:
    """State and reason by component, of what is not ok."""
    found = health.update(machine).troubles
    return {each.component: (each.state.value, each.why) for each in found}


def test_a_machine_without_trouble_is_ready(machine: AgentState) -> None:
    """Every component is there, and ok."""
    assert _troubles(machine) == {}
    found = status(machine, 1)
    assert (found.ready, found.state, found.waiting_for) == (True, HealthState.OK, [])
    named = {each.component for each in found.health}
    assert {
        "clock",
        "table",
        "ledger",
        "configuration",
        "table of branches",
        "table of proofs",
    } <= named


async def test_the_log_says_once_that_the_machine_is_ready(
    machine: AgentState, hands: Hands, autojump_clock: object, log_lines: list[str]
) -> None:
    """The first time only: later changes have lines of their own."""
    machine.steady = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(health.health_loop, machine)
        await trio.testing.wait_all_tasks_blocked()
        assert not any("ready" in line for line in log_lines)
        for steady in (True, False, True):
            machine.steady = steady
            hands.go(1)
            await trio.sleep(limits.health_report_seconds)
        nursery.cancel_scope.cancel()
    assert sum("ready: the gateway admits calls" in line for line in log_lines) == 1


def test_a_full_share_is_named_with_its_crew_and_how_to_mend_it(machine: AgentState) -> None:
    """The crew has as many live branches as it may: only its new ones are refused."""
    crew = CrewPolicy("article", "https://orchestrator.example", live_branches_max=2)
    policy = msgspec.structs.replace(machine.active_config.policy, crews=(crew,))
    machine.lease_client.load(policy)
    machine.active_config.policy = policy
    for number in range(3):
        now = machine.clock.boot_ns()
        drawn = machine.lease_client.draw(grant(number, 10**6), 0, NOW, now)
    assert drawn is DrawStatus.SHARE
    found = health.update(machine)
    (trouble,) = found.troubles
    assert (trouble.component, found.ready, found.state) == (
        "crew article",
        True,
        HealthState.DEGRADED,
    )
    assert "live branches" in trouble.why
    assert "live_branches" in trouble.mend


def test_half_of_the_table_is_a_crews_share_too(machine: AgentState) -> None:
    """Of 256 records 128: then `[table]` is what to raise."""
    for number in range(128):
        machine.lease_client.draw(grant(number, 10**6), 0, NOW, machine.clock.boot_ns())
    assert "[table] branches" in health.update(machine).troubles[0].mend


def test_a_crew_that_opens_too_many_in_a_minute_is_named(machine: AgentState, hands: Hands) -> None:
    """Until the minute is over."""
    crew = CrewPolicy("article", "https://orchestrator.example", new_branches_per_minute_max=1)
    policy = msgspec.structs.replace(machine.active_config.policy, crews=(crew,))
    machine.lease_client.load(policy)
    machine.active_config.policy = policy
    machine.lease_client.draw(grant(1, 10**6), 0, NOW, machine.clock.boot_ns())
    assert "crew article" in _troubles(machine)
    hands.go(60)
    assert "crew article" not in _troubles(machine)


def draw_under(machine: AgentState, *needs: int, **bounds: int) -> list[DrawStatus]:
    """The answers to draws of one branch, whose crew has these bounds."""
    crew = CrewPolicy("article", "https://orchestrator.example", **bounds)
    policy = msgspec.structs.replace(machine.active_config.policy, crews=(crew,))
    machine.lease_client.load(policy)
    machine.active_config.policy = policy
    now = machine.clock.boot_ns()
    return [machine.lease_client.draw(grant(1, 10**6), need, NOW, now) for need in needs]


@pytest.mark.parametrize(
    ("bound", "until", "key"),
    [
        ("hourly_max", "2027-01-15 09:00Z", "credits_per_hour"),
        ("daily_max", "2027-01-16 00:00Z", "credits_per_day"),
    ],
)
def test_a_crew_that_has_spent_its_hour_or_day_is_named(
    machine: AgentState, bound: str, until: str, key: str
) -> None:
    """From the first call that the rest does not cover, until the next hour or a higher limit."""
    assert draw_under(machine, 8, **{bound: 10}) == [DrawStatus.GRANTED]
    assert _troubles(machine) == {}
    assert draw_under(machine, 12, **{bound: 10}) == [DrawStatus.EXHAUSTED]
    (trouble,) = health.update(machine).troubles
    assert (trouble.component, trouble.state) == ("crew article", HealthState.DEGRADED)
    assert f"credits of the {key.rpartition('_')[2]} do not cover a call" in trouble.why
    assert trouble.mend == f"wait until {until}, or raise its {key}"
    machine.lease_client.roll_windows(NOW + 3599)
    assert "crew article" in _troubles(machine)
    machine.lease_client.roll_windows(NOW + 3600)
    assert _troubles(machine) == {}
    assert draw_under(machine, 12, **{bound: 10}) == [DrawStatus.EXHAUSTED]
    assert "crew article" in _troubles(machine)
    assert draw_under(machine, 12, **{bound: 12}) == [DrawStatus.GRANTED]
    assert _troubles(machine) == {}


def test_a_call_that_no_hour_covers_is_no_limit_of_the_crew(machine: AgentState) -> None:
    """Other calls of the crew are permitted, and no new hour helps this one."""
    assert draw_under(machine, 1000, hourly_max=10) == [DrawStatus.EXHAUSTED]
    assert _troubles(machine) == {}


def test_revocations_that_would_coarsen_are_foretold(machine: AgentState) -> None:
    """The share of the crew is full: the next one ends all its tokens."""
    for number in range(28):  # of 64 a crew has half, and of that an eighth is for certificates
        machine.revoke([branch(branch_id(number), "article")])
    assert _troubles(machine)["table of revocations"][0] == "degraded"


def test_a_ledger_that_does_not_answer_has_calls_refused(machine: AgentState) -> None:
    """As the clerk says it; its own line is in the log, so health writes none."""
    machine.ledger_queue._trouble = "the disk is full"
    found = health.update(machine)
    assert found.refusals == ["ledger: it does not answer: the disk is full"]
    assert not found.ready


def test_a_clock_that_jumped_is_said_with_its_step(machine: AgentState, hands: Hands) -> None:
    """And the table, which is stale for that reason alone, is no second trouble."""
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    hands.wall += 3600 * S
    hands.go(1)
    periodic.extend_freshness(machine, watch)
    assert _troubles(machine) == {"clock": ("failed", "the wall clock jumped by +3600.0 s")}


def test_a_table_that_nobody_vouches_for_is_not_fresh(machine: AgentState, hands: Hands) -> None:
    """The agent's own loop hangs."""
    hands.go(limits.fresh_seconds + 1)
    assert "table" in _troubles(machine)


def test_a_bad_configuration_is_degraded(machine: AgentState) -> None:
    """The one before stays in force."""
    machine.active_config.error = "crewgate.toml: price"
    why = "keeping the active configuration: crewgate.toml: price"
    assert _troubles(machine)["configuration"] == ("degraded", why)
    machine.active_config.error += "\ncrewgate.toml: path\ncrewgate.toml: upstream"
    assert _troubles(machine)["configuration"] == ("degraded", f"{why} (and 2 more)")


def test_the_remedy_of_a_configuration_fits_its_fault(machine: AgentState) -> None:
    """`crewgate check` finds no fault in a key that cannot change while serving."""

    def remedy() -> str:
        (fact,) = [each for each in health.facts(machine) if each.component == "configuration"]
        return fact.mend

    machine.active_config.error = "gateway.key: No such file or directory"
    assert remedy() == (
        "run `crewgate check`, and correct what it names; until then, a process that restarts may "
        "not start"
    )
    machine.active_config.error = f"crewgate.toml: [ledger] cannot change while serving; {WAY_OUT}"
    assert remedy() == ""


def test_a_journal_that_lacks_records_is_degraded(machine: AgentState) -> None:
    """Until it was rewritten."""
    machine.revocations_journal.incomplete = True
    assert _troubles(machine)["journal of revocations"][0] == "degraded"


def test_the_agents_audit_is_looked_at(machine: AgentState, tmp_path: Path) -> None:
    """Without it no revocation is recorded; calls go on."""

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(28, os.strerror(28))

    writer = AuditWriter(tmp_path / "audit", "agent", write=refuse)
    writer.write_lines([b"{}\n"])
    machine.audit = writer
    state, why = _troubles(machine)["audit of the agent"]
    assert state == "degraded"
    assert "No space left on device; 1 records are lost" in why
    writer.close()


def test_a_change_is_said_once(machine: AgentState, hands: Hands, log_lines: list[str]) -> None:
    """With what to do; and that it is over."""
    log_lines.clear()
    machine.audit = None
    machine.reports.update(
        self := object(), _report([failed("disk", "it is full", "make room")]), 0
    )
    for _ in range(5):
        hands.go(1)
        health.update(machine)
    assert log_lines == ["health: disk: failed: it is full; to mend it: make room"]
    machine.reports.update(self, _report([ok("disk")]), 0)
    for _ in range(9):
        hands.go(1)
        health.update(machine)
    assert log_lines[1:] == ["health: disk: ok again after 10 s"]


def _report(facts: list[ComponentHealth]) -> ProcessHealthReport:
    return ProcessHealthReport(id=1, source="supervisor", facts=facts)


def test_a_report_ends_with_its_connection() -> None:
    """What a process said is void once it is gone; another's connection changes nothing."""
    reports, one, two = NonWorkerHealthReports(), object(), object()
    reports.update(one, _report([ok("a")]), 5)
    reports.leave(two)
    assert reports.of("supervisor") == ((ok("a"),), 5)
    assert reports.of("control") is None
    reports.update(two, _report([ok("b")]), 6)  # a new process, before the old connection is seen
    reports.leave(one)
    assert reports.of("supervisor") == ((ok("b"),), 6)
    reports.leave(two)
    assert reports.of("supervisor") is None


# Workers.


@pytest.fixture
def staffed(machine: AgentState) -> AgentState:
    """The same machine with two workers wanted."""
    machine.active_config.config = msgspec.structs.replace(machine.active_config.config, workers=2)
    return machine


def test_a_worker_that_is_missing_has_calls_refused(staffed: AgentState, hands: Hands) -> None:
    """While it starts, it is passing; then the log says it."""
    found = health.update(staffed)
    assert [each.component for each in found.troubles] == ["worker 0", "worker 1"]
    assert (found.ready, all(each.passing for each in found.troubles)) == (False, True)
    hands.go(limits.health_start_seconds + 1)
    periodic.extend_freshness(staffed, ClockMonitor(hands.wall_ns(), hands.boot_ns()))
    assert not health.update(staffed).troubles[0].passing


def test_a_worker_is_ok_once_it_accepts_what_is_in_force(staffed: AgentState, hands: Hands) -> None:
    """And not once it is silent, though its connection stands: it is stopped or stuck."""
    for index in range(2):
        guest, _ = staffed.enter(Attach(version=VERSION, worker=index))
        assert _troubles(staffed)[f"worker {index}"][1] == "it does not accept connections yet"
        guest.accepting = True
        assert "it serves configuration 0" in _troubles(staffed)[f"worker {index}"][1]
        guest.policy_generation = staffed.active_config.policy.generation
    assert _troubles(staffed) == {}
    pass_silence(staffed, hands)
    assert "it is stopped or stuck" in _troubles(staffed)["worker 0"][1]


def test_a_stopped_agent_does_not_call_other_processes_silent(
    staffed: AgentState, hands: Hands, log_lines: list[str]
) -> None:
    """If they say nothing after it goes on, it says so once the usual time has passed."""
    for index in range(2):
        guest, _ = staffed.enter(Attach(version=VERSION, worker=index))
        guest.accepting = True
        guest.policy_generation = staffed.active_config.policy.generation
    assert _troubles(staffed) == {}
    hands.go(2 * limits.health_silence_seconds)
    periodic.extend_freshness(staffed, ClockMonitor(hands.wall_ns(), hands.boot_ns()))
    assert _troubles(staffed) == {}
    assert "the agent did nothing for 20 s: it was stopped, suspended or very busy" in log_lines
    pass_silence(staffed, hands)
    assert "it is stopped or stuck" in _troubles(staffed)["worker 0"][1]


def test_of_two_workers_of_one_index_the_one_that_accepts_counts(staffed: AgentState) -> None:
    """One takes the other's place while that still serves."""
    old, _ = staffed.enter(Attach(version=VERSION, worker=0))
    old.accepting = True
    new, _ = staffed.enter(Attach(version=VERSION, worker=0))
    assert staffed.attached.worker(0) is old
    new.accepting = True
    assert staffed.attached.worker(0) is new


def test_what_workers_have_in_common_is_one_fact() -> None:
    """The worst of all; whose it is, unless it is everybody's."""
    full = failed("audit", "the disk is full")
    soon = degraded("listener", "soon")
    found = {fact.component: fact for fact in health.merged([(0, [full, soon]), (1, [full])])}
    of_one = msgspec.structs.replace(soon, why="soon (worker 0)")
    assert found == {"audit": full, "listener": of_one}
    (fact,) = health.merged([(0, [ok("audit")]), (1, [ok("audit")])])
    assert fact == ok("audit")
    (fact,) = health.merged([(0, [ok("audit")]), (1, [full]), (2, [full])])
    assert fact.why == "the disk is full (worker 1, 2)"


# The processes beside those that carry calls.


@pytest.mark.parametrize(
    ("source", "section"),
    [("control", "ca"), ("export", "exports"), ("alerts", "alerts"), ("ui", "ui")],
)
def test_a_process_beside_the_calls_is_missed_and_no_call_with_it(
    start: Start, hands: Hands, machine: AgentState, source: ReportSource, section: str
) -> None:
    """Starting at first; then failed, and the gateway still ready."""
    needed = getattr(machine.active_config.config, section) or (object(),)
    machine.active_config.config = msgspec.structs.replace(
        machine.active_config.config, **{section: needed}
    )
    found = health.update(machine)
    assert [each.component for each in found.troubles] == [source]
    assert (found.ready, found.troubles[0].passing) == (True, True)
    who = object()
    report = ProcessHealthReport(id=1, source=source, facts=[degraded("its audit", "full")])
    machine.reports.update(who, report, hands.boot_ns())
    assert _troubles(machine) == {"its audit": ("degraded", "full")}
    pass_silence(machine, hands)
    assert "it is stopped or stuck" in _troubles(machine)[source][1]
    machine.reports.leave(who)
    assert "not connected to the agent process" in _troubles(machine)[source][1]


# Disks.


async def test_a_folder_that_takes_no_writes_is_found(tmp_path: Path) -> None:
    """Before anything needs it; and that it takes them again. Nothing of the probe stays."""
    folder = tmp_path / "state"
    assert write_errors([folder, tmp_path]) == ["No such file or directory", ""]
    disk = FolderWriteProbe(folder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_folders, [disk])
        while disk.fact("state", refuses=True) == ok("state"):  # noqa: ASYNC110 - no event
            await trio.sleep(0.01)
        fact = disk.fact("state", refuses=True)
        assert (fact.state, fact.refuses) == (HealthState.FAILED, True)
        assert fact.why == f"{folder}: cannot write: No such file or directory"
        nursery.cancel_scope.cancel()
    folder.mkdir()
    assert write_errors([folder, tmp_path]) == ["", ""]
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_nearly_full_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is full; a large disk has room for long with a small share of it free."""
    size = 4096

    def disk(blocks: int, free: int, files: int = 10**6) -> str:
        found = SimpleNamespace(
            f_blocks=blocks, f_bavail=free, f_frsize=size, f_files=10**6, f_favail=files
        )
        monkeypatch.setattr(os, "statvfs", lambda _: found)
        return shortages([tmp_path])[0]

    assert disk(10**6, 49_999) == "only 205 MB are free"
    assert disk(10**6, 50_001) == ""
    assert disk(10**9, limits.disk_free_bytes // size + 1) == ""
    assert disk(10**9, limits.disk_free_bytes // size - 1) == "only 1074 MB are free"
    assert disk(10**6, 10**6, files=999) == "there is room for only 999 more files"
    probe = FolderWriteProbe(tmp_path)
    probe.end("", "only 205 MB are free")
    fact = probe.fact("audit folder", refuses=True)
    assert fact.state is HealthState.DEGRADED
    assert fact.why == f"{tmp_path}: its disk is nearly full: only 205 MB are free"


def test_a_disk_that_syncs_nothing_takes_no_writes_in_any_of_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sync serves all folders of a disk."""
    synced = []

    def broken(descriptor: int) -> None:
        synced.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    folders = [tmp_path / name for name in ("state", "audit")]
    for folder in folders:
        folder.mkdir()
    assert write_errors(folders) == ["Input/output error"] * 2
    assert len(synced) == 1
