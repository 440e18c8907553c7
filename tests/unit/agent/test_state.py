"""The whole agent without sockets: two clocks that a test sets, and what may go wrong with them."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from agent_world import TOML, Hands, S, Start
from grant_builders import NOW, branch_id, grant, key
from revocation_targets import branch

from crewgate import limits
from crewgate._native.records import BurnedReservation
from crewgate.agent import periodic
from crewgate.agent.branch_tree.tree_reader import TreeReader
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.ipc_server.admin_session import forgive
from crewgate.agent.ipc_server.message_stream import pages
from crewgate.agent.reload import reload_if_changed
from crewgate.agent.state import AgentState
from crewgate.agent.status import status
from crewgate.core.audit import records
from crewgate.core.audit.records import Record
from crewgate.core.budget.ledger_protocol import DrawLease
from crewgate.errors import ConfigurationError, ServiceRefusedError, TableError
from crewgate.ipc.admin_messages import BurnedCreditForgiven, ForgiveBurnedCredit, TreeRow
from crewgate.ipc.attach_messages import (
    VERSION,
    Attach,
    CreditDrawn,
    DrawCredit,
    Reload,
    RevocationNotice,
)
from crewgate.leases.lease_client import LeaseClient


def _tick(machine: AgentState, watch: ClockMonitor, hands: Hands, seconds: int) -> list[bool]:
    """Everything that is done by the clock, for so long; whether it was fresh each second."""
    fresh = []
    for _ in range(seconds):
        for _ in range(4):
            hands.go(0.25)
            periodic.extend_freshness(machine, watch)
        periodic.tidy(machine)
        fresh.append(machine.is_fresh())
    return fresh


@pytest.mark.parametrize("hours", [1, -1, 48, -48])
def test_no_revocation_is_forgotten_by_a_clock_that_jumps(
    start: Start, hands: Hands, hours: int
) -> None:
    """Two seconds at the wrong hour: nothing is admitted meanwhile, and nothing forgotten."""
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    machine.revoke([branch(_id(1), "article")])
    assert _tick(machine, watch, hands, 2) == [True, True]
    hands.wall += hours * 3600 * S
    assert _tick(machine, watch, hands, 2) == [False, False]
    hands.wall -= hours * 3600 * S
    assert _tick(machine, watch, hands, 2) == [True, True]
    assert machine.table.is_revoked(key(1), int(NOW))
    assert len(machine.revocations) == 1


def test_a_damaged_table_is_said_with_its_mend(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that cannot be true together end the start in one line, not in a traceback."""

    def contradict(lessor: LeaseClient, now: float, now_boot_ns: int) -> None:
        raise OverflowError("Python int too large to convert to C long")

    monkeypatch.setattr(LeaseClient, "rebuild", contradict)
    with pytest.raises(TableError, match=r"table: damaged.*move the file away"):
        start()


def test_a_clock_that_was_set_for_good_forgets_nothing_either(start: Start, hands: Hands) -> None:
    """A day ahead by mistake: the entry is held for its day by the other clock."""
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    machine.revoke([branch(_id(1), "article")])
    hands.wall += 25 * 3600 * S
    _tick(machine, watch, hands, 60)
    assert machine.is_fresh()
    assert machine.table.is_revoked(key(1), int(NOW))


def test_what_expired_by_both_clocks_is_forgotten(start: Start, hands: Hands) -> None:
    """A day later by both clocks the entry's place is free again; the journal keeps a margin."""
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    machine.revoke([branch(_id(1), "article")])
    hands.go(limits.revocation_seconds + 1)
    _tick(machine, watch, hands, 2)
    assert not machine.table.is_revoked(key(1), int(NOW))
    hands.go(limits.clock_distrust_seconds)
    _tick(machine, watch, hands, 1)
    assert len(machine.revocations) == 0


def test_a_reclaimed_branch_leaves_the_registry(start: Start, hands: Hands) -> None:
    """What the table forgets after a day, the registry forgets with it."""
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    guest, _ = machine.enter(Attach(version=VERSION))
    machine.draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), machine.clock.read())
    assert len(machine.registry) == 1
    hands.go(limits.branch_memory_seconds + 1000)
    _tick(machine, watch, hands, 5)
    assert len(machine.registry) == 0
    assert machine.table.find(key(1)) == -1


def test_an_agent_that_stops_vouching_is_stale(start: Start, hands: Hands) -> None:
    """Five seconds after the last tick nobody admits on its word."""
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    _tick(machine, watch, hands, 1)
    hands.go(limits.fresh_seconds - 0.1)
    assert machine.is_fresh()
    hands.go(0.2)
    assert not machine.is_fresh()
    assert status(machine, 1).waiting_for[0].startswith("table: the agent has not")


def test_a_machine_alone_knows_all_that_there_is_to_know(start: Start, hands: Hands) -> None:
    """For ever: no wait for others that are not there."""
    machine = start()
    periodic.extend_freshness(machine, ClockMonitor(hands.wall_ns(), hands.boot_ns()))
    assert machine.table.synced_until == 2**64 - 1
    assert status(machine, 1).ready


def test_a_fresh_machine_waits_for_what_a_majority_knows(
    start: Start, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tick says until when it knows; a machine that is not even fresh waits for that first."""
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    until = hands.boot_ns() + S
    monkeypatch.setattr(machine, "synced_until_ns", lambda: until)
    periodic.extend_freshness(machine, watch)
    assert machine.table.synced_until == until
    assert status(machine, 1).ready
    hands.go(1)
    periodic.extend_freshness(machine, watch)
    assert machine.is_fresh()
    told = status(machine, 1)
    assert (told.ready, told.fresh) == (False, True)
    assert told.waiting_for == ["cluster: waiting for any missing revocations"]
    hands.go(limits.fresh_seconds)
    assert status(machine, 1).waiting_for[1].startswith("table: the agent has not")


def test_guests_that_do_not_come_back_are_dropped(start: Start, hands: Hands) -> None:
    """After a restart their numbers are kept for the wait, then free."""
    before = start()
    before.enter(Attach(version=VERSION))
    machine = start()
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    _tick(machine, watch, hands, int(limits.inherited_seconds) - 1)
    assert len(machine.table.attachments()) == 1
    _tick(machine, watch, hands, 2)
    assert machine.table.attachments() == []


def test_a_restart_with_the_same_files_is_the_same_generation(start: Start, file: Path) -> None:
    """No worker has to load anything; with other files it is the next."""
    generation = start().active_config.policy.generation
    assert start().active_config.policy.generation == generation
    assert (file.parent / "state" / "generation").stat().st_mode & 0o777 == 0o600
    file.write_text(TOML.format(workers=0, price="0.02"))
    machine = start()
    assert machine.active_config.policy.generation == generation + 1
    assert machine.table.policy_generation == generation + 1


def test_a_stamp_that_cannot_be_written_costs_a_generation_only(start: Start, file: Path) -> None:
    """A full disk is no reason not to serve: a restart takes the next number."""
    (file.parent / "state" / "generation").mkdir()
    assert start().active_config.policy.generation == 1
    assert start().active_config.policy.generation == 2


def test_everybody_is_told_of_a_reload_and_of_a_revocation(start: Start, file: Path) -> None:
    """The push names the generation and the keys; the table said so before."""
    machine = start()
    guest, attached = machine.enter(Attach(version=VERSION))
    file.write_text(TOML.format(workers=0, price="0.02"))
    assert machine.active_config.is_due()
    machine.reload(machine.active_config.read_files())
    assert not machine.active_config.is_due()
    machine.revoke([branch(_id(1), "article")])
    reload = guest.outbox.receive_nowait()
    revoked = guest.outbox.receive_nowait()
    assert reload == Reload(generation=attached.policy_generation + 1)
    assert machine.table.policy_generation == attached.policy_generation + 1
    assert isinstance(revoked, RevocationNotice)
    assert revoked.keys == [key(1)]


def test_a_bad_file_is_said_once(start: Start, file: Path, log_lines: list[str]) -> None:
    """The same fault again says nothing; the next good look clears it."""
    machine = start()
    file.write_text("nonsense")
    log_lines.clear()
    for _ in range(3):
        with pytest.raises(ConfigurationError) as raised:
            machine.active_config.read_files()
        machine.active_config.refuse(raised.value)
    assert len(log_lines) == 1
    assert "nonsense" not in machine.active_config.policy.audience
    file.write_text(TOML.format(workers=0, price="0.02"))
    machine.reload(machine.active_config.read_files())
    assert machine.active_config.error == ""


def test_a_file_that_was_missing_is_found_later(
    start: Start, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in no watch, so bad content is looked at again by the clock."""
    clock = SimpleNamespace(time_ns=time.time_ns, monotonic=lambda: 100.0)
    monkeypatch.setattr("crewgate.runtime.file_watch.time", clock)
    machine = start()
    missing = file.with_name("later.jwks.json")
    text, (jwks,) = file.read_text(), {crew.jwks for crew in machine.active_config.config.crews}
    file.write_text(text.replace(f'jwks = "{jwks.name}"', f'jwks = "{missing.name}"'))
    trio.run(reload_if_changed, machine)
    assert "later.jwks.json" in machine.active_config.error
    missing.write_bytes(jwks.read_bytes())
    trio.run(reload_if_changed, machine)
    assert machine.active_config.error
    clock.monotonic = lambda: 100.0 + limits.reload_refused_seconds
    trio.run(reload_if_changed, machine)
    assert machine.active_config.error == ""


def test_a_revoked_branch_draws_nothing_more(start: Start) -> None:
    """The ledger has closed it too, so that its death outlives the entry; its child as well."""
    machine = start()
    guest, _ = machine.enter(Attach(version=VERSION))
    machine.draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), machine.clock.read())
    machine.draws.ask(
        guest, DrawCredit(id=2, grant=grant(2, 50, (1, 500, None)), need=10), machine.clock.read()
    )
    machine.close(machine.revoke([branch(_id(1), "")]).results)
    machine.draws.ask(
        guest,
        DrawCredit(id=3, grant=grant(1, 500, iat=int(NOW) + 9), need=200),
        machine.clock.read(),
    )
    machine.draws.ask(
        guest, DrawCredit(id=4, grant=grant(2, 50, (1, 500, None)), need=20), machine.clock.read()
    )
    told = {}
    for _ in range(5):
        message = guest.outbox.receive_nowait()
        if isinstance(message, CreditDrawn):
            told[message.id] = message.status
    assert told == {1: "granted", 2: "granted", 3: "closed", 4: "closed"}


def test_ready_means_that_every_worker_accepts_under_our_policy(
    start: Start, file: Path, hands: Hands
) -> None:
    """Not attached, not accepting, an older configuration: each is named; then it is ready."""
    file.write_text(TOML.format(workers=2, price="0.01"))
    machine = start()
    periodic.extend_freshness(machine, ClockMonitor(hands.wall_ns(), hands.boot_ns()))
    first, _ = machine.enter(Attach(version=VERSION, worker=0))
    assert status(machine, 1).waiting_for == [
        "worker 0: it does not accept connections yet",
        "worker 1: it is not attached to the agent",
    ]
    second, _ = machine.enter(Attach(version=VERSION, worker=1))
    generation = machine.active_config.policy.generation
    for guest in (first, second):
        guest.accepting, guest.policy_generation = True, generation
    assert status(machine, 1).ready
    second.policy_generation = generation - 1
    assert status(machine, 1).waiting_for == [
        f"worker 1: it serves configuration {generation - 1} instead of {generation}"
    ]
    second.policy_generation = generation
    machine.leave(second)
    assert status(machine, 1).waiting_for == ["worker 1: it is not attached to the agent"]


def test_a_call_that_a_dead_worker_has_recorded_is_charged_once(
    start: Start, written: list[Record]
) -> None:
    """The worker died after it had written the record, and before it had settled the call."""
    machine = start()
    lost, recorded = (
        BurnedReservation(key(1), 500, 3, 0, 0, bytes(16), bytes([number]) * 16, int(NOW) * S, 4)
        for number in (1, 2)
    )
    folder = machine.active_config.config.audit.folder
    folder.mkdir(parents=True, exist_ok=True)
    request = records.request_text(b"\2" * 16)
    line = f'{{"kind":"call","request":"{request}","cost_micro":500}}\n'
    file = folder / "worker-3-20260101T000000.000000Z.jsonl"
    file.write_text(line)
    os.utime(file, ns=(int(NOW) * S, int(NOW) * S + 1))
    machine.burn([lost, recorded], "owner-died")
    burned = [each for each in written if isinstance(each, records.BurnedReservationRecord)]
    assert [each.request for each in burned] == [records.request_text(b"\1" * 16)]


async def test_the_tree_is_paged(start: Start) -> None:
    """Every row once, in order; an empty tree is one empty page."""
    machine = start()
    assert list(pages(TreeReader(machine).tree())) == [([], True)]
    row = TreeRow(crew="article", branch="b", state="live")
    for count in (1, limits.ipc_tree_rows_max, limits.ipc_tree_rows_max + 1):
        found = list(pages([row] * count))
        assert sum(len(rows) for rows, _ in found) == count
        assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
        assert all(len(rows) <= limits.ipc_tree_rows_max for rows, _ in found)


def test_what_the_machine_leased_under_a_lost_name_is_burned(start: Start) -> None:
    """A ledger in a file is nobody else's: its credit is not out for ever."""
    machine = start()
    guest, _ = machine.enter(Attach(version=VERSION))
    machine.draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), machine.clock.read())
    ledger, boot = machine.ledger_queue.ledger, b"former" + bytes(10)
    ledger.do(DrawLease(key(1), "former name", boot, 1, 30), NOW)
    (line, *_) = start().ledger_queue.ledger.report(key(1))
    assert (line.burned, line.leased) == (30, 10)


def test_a_ledger_that_was_put_back_is_not_drawn_from(start: Start, file: Path) -> None:
    """It would grant again what its later self has granted: nothing starts, and it is said why."""
    machine = start()
    guest, _ = machine.enter(Attach(version=VERSION))
    machine.draws.ask(guest, DrawCredit(id=1, grant=grant(1, 500), need=10), machine.clock.read())
    ledger = machine.ledger_queue.ledger
    with ledger.session.transaction():
        ledger.session.rows("UPDATE lease SET granted = 5")
    with pytest.raises(TableError, match="the ledger is an older copy"):
        start()


async def test_burned_credit_is_forgiven_on_somebodys_word(
    start: Start, log_lines: list[str]
) -> None:
    """It returns to the branch and all above, once, and who was refused for it may ask again."""
    machine = start()
    guest, _ = machine.enter(Attach(version=VERSION))
    machine.draws.ask(guest, DrawCredit(id=1, grant=grant(1, 10), need=10), machine.clock.read())
    ledger = machine.ledger_queue.ledger
    ledger.burn(machine.lease_client.holder, *ledger.heartbeats()[machine.lease_client.holder])
    done = await forgive(machine, ForgiveBurnedCredit(id=3, branch=branch_id(1), crew="article"))
    assert done == BurnedCreditForgiven(id=3, branch=branch_id(1), crew="article", amount=10)
    again = await forgive(machine, ForgiveBurnedCredit(id=4, branch=branch_id(1), by="person/ada"))
    assert again.amount == 0
    whose = f"to branch {branch_id(1)} (article)"
    assert log_lines[-2:] == [
        f"returned 0.00001 burned credits {whose}",
        f"returned 0.00 burned credits {whose}, by order of person/ada",
    ]
    for name, crew in (("nonsense", ""), (branch_id(1), "nobody"), (branch_id(7), "")):
        with pytest.raises(ServiceRefusedError):
            await forgive(machine, ForgiveBurnedCredit(id=5, branch=name, crew=crew))


def test_a_refused_revocation_tells_nobody(start: Start, written: list[Record]) -> None:
    """No push, no record, no key."""
    machine = start()
    guest, _ = machine.enter(Attach(version=VERSION))
    with pytest.raises(ServiceRefusedError):
        machine.revoke([branch("nonsense", "article")])
    assert guest.outbox.statistics().current_buffer_used == 0
    assert not [each for each in written if isinstance(each, records.RevocationRecord)]


def _id(number: int) -> str:
    return grant(number, 1).branch
