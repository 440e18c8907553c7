"""Certificates and orchestrators as such: entered in one step, within the table's room."""

from pathlib import Path

import pytest
from agent_world import Hands, Start
from grant_builders import NOW as MOMENT
from grant_builders import branch_id
from revocation_targets import branch, certificate, orchestrator

from crewgate import limits
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation import types
from crewgate.agent.revocation.revocation_store import RevocationStore
from crewgate.agent.revocation.types import ClockReading
from crewgate.core.audit.records import Record
from crewgate.core.audit.records import RevocationRecord as Revoked
from crewgate.core.ids import EntityKind, certificate_key, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_messages import Revoke
from crewgate.ipc.attach_messages import VERSION, Attach, RevocationAck
from crewgate.ipc.attach_messages import RevocationNotice as Push

NOW = ClockReading(wall=1_800_000_000, boot_ns=10**12)
CREWS = (CrewPolicy("article", "https://o.example"), CrewPolicy("bd", "https://b.example"))
ORCHESTRATOR = orchestrator("bd/bd-1", "bd")


def orchestrator_key(name: str = "bd/bd-1", crew: str = "bd") -> bytes:
    return table_key(EntityKind.ORCHESTRATOR, crew, name.encode())


@pytest.fixture
def revocations(table: OwnedTable, tmp_path: Path, registry: BranchRegistry) -> RevocationStore:
    """Nothing revoked yet; 64 places."""
    journal = JournalFile(tmp_path / "revocations", types.StoredRevocation)
    journal.rewrite([])
    found = RevocationStore(table, journal, registry)
    found.load(CREWS)
    return found


def test_an_orchestrator_and_its_certificates_in_one_step(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """A certificate for good, an orchestrator for what it signed until now and the leeway."""
    done = revocations.revoke([certificate(1), certificate(2), ORCHESTRATOR], NOW)
    assert all(each.is_listed for each in done)
    keys = {bytes.fromhex(each.wanted.key) for each in done}
    assert keys == {certificate_key("bd", 1), certificate_key("bd", 2), orchestrator_key()}
    assert all(
        table.is_revoked(certificate_key("bd", serial), limits.time_seconds_max)
        for serial in (1, 2)
    )
    assert not table.is_revoked(certificate_key("article", 1), 0)
    assert table.is_revoked(orchestrator_key(), NOW.wall + limits.leeway_seconds)
    assert not table.is_revoked(orchestrator_key(), NOW.wall + limits.leeway_seconds + 1)


@pytest.mark.parametrize("name", ["", "xyz", "-5", "0x5", "1_0", " 5", "5 ", "٣"])
def test_what_is_no_serial_is_refused_and_nothing_is_revoked(
    revocations: RevocationStore, table: OwnedTable, name: str
) -> None:
    """Although a good one came before it."""
    bad = RevocationTarget(EntityKind.CERTIFICATE, name, "bd")
    with pytest.raises(ServiceRefusedError, match="expected a serial number in hexadecimal"):
        revocations.revoke([certificate(1), ORCHESTRATOR, bad], NOW)
    assert not table.is_revoked(certificate_key("bd", 1), 0)
    assert len(revocations) == 0


def test_what_is_no_crew_is_refused(revocations: RevocationStore) -> None:
    """A long text of many bytes would not fit into a key."""
    for kind in (EntityKind.CERTIFICATE, EntityKind.ORCHESTRATOR, EntityKind.KEY):
        target = RevocationTarget(kind, "1", "é" * limits.claim_chars_max)
        with pytest.raises(ServiceRefusedError, match="cannot be the name of a crew"):
            revocations.revoke([target], NOW)


def test_certificates_of_no_crew_and_of_one_that_is_gone(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """A gateway's, and a crew's that the configuration has no more."""
    revocations.revoke([certificate(1, ""), certificate(2, "gone")], NOW)
    assert table.is_revoked(certificate_key("", 1), 0)
    assert table.is_revoked(certificate_key("gone", 2), 0)


def test_a_crew_over_its_share_loses_no_place_of_others(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """Its certificates beyond are not listed; it is not revoked as a whole for it."""
    targets = [certificate(serial) for serial in range(40)]
    done = revocations.revoke(targets, NOW)
    assert (len(done), sum(not each.is_listed for each in done)) == (40, 8)
    assert table.revocations_of(crew_key("bd")) == 32
    assert not table.is_revoked(crew_key("bd"), 0)
    again = revocations.revoke(targets[:3], NOW)
    assert all(each.is_listed for each in again)  # known ones need no room


def test_one_step_has_one_target_that_may_be_refused(revocations: RevocationStore) -> None:
    """Or else the first of two would be in force, and its caller told that nothing is."""
    for other in (branch(branch_id(1), "bd"), orchestrator("bd/bd-2", "bd")):
        with pytest.raises(ServiceRefusedError, match="one step revokes at most one branch"):
            revocations.revoke([certificate(1), ORCHESTRATOR, other], NOW)
    assert len(revocations) == 0


def test_a_full_table_still_takes_nothing_from_anybody(
    table: OwnedTable, revocations: RevocationStore
) -> None:
    """An orchestrator without a place is refused, with all that came with it; and how to mend."""
    for number in range(64):
        key = number.to_bytes(16)
        table.revoke(key, crew_key("x"), 1, 86_400, NOW.wall, NOW.boot_ns)
    targets = [certificate(1), ORCHESTRATOR]
    says = r"orchestrator bd/bd-1 is not revoked: remove the key .* of crew bd"
    with pytest.raises(ServiceRefusedError, match=says):
        revocations.revoke(targets, NOW)
    done = revocations.revoke([certificate(1), certificate(2, "gone")], NOW)
    assert [each.is_listed for each in done] == [False, False]
    assert all(each.to_announce == [each.wanted] for each in done)  # others may have room
    assert len(revocations) == 0


def test_a_new_table_gets_them_again(
    revocations: RevocationStore, table: OwnedTable, tmp_path: Path, registry: BranchRegistry
) -> None:
    """After a reboot a certificate stays revoked until it has ended, and a little longer."""
    revocations.revoke([certificate(1, seconds=3600), ORCHESTRATOR], NOW)
    journal = JournalFile(tmp_path / "revocations", types.StoredRevocation)
    for hours, kept in ((1, True), (4, True), (6, False)):
        fresh = OwnedTable.private(TableCapacities(256, 64, 128, 8))
        later = ClockReading(wall=NOW.wall + hours * 3600, boot_ns=1)
        RevocationStore(fresh, journal, registry).restore(revocations, later)
        assert fresh.is_revoked(certificate_key("bd", 1), 0) is kept
        assert fresh.is_revoked(orchestrator_key(), NOW.wall)
        fresh.close()
    journal.close()


async def test_everybody_is_told_and_it_is_written_down(
    start: Start, hands: Hands, written: list[Record]
) -> None:
    """One push with all keys, a receipt that adds up the answers, and a record for each name."""
    machine = start()
    guest, _ = machine.enter(Attach(version=VERSION, answers_cuts=True))

    def answer(push: Push) -> None:
        machine.fanout.disconnect_acks.answer(
            guest,
            RevocationAck(
                id=push.id, last_cut_ns=hands.monotonic_ns() + 10**12, count=2, connections=5
            ),
        )

    told = machine.revoke([certificate(1, "article")])
    push = guest.outbox.receive_nowait()
    assert isinstance(push, Push)
    assert push.keys == [certificate_key("article", 1)]
    machine.fanout.end(told)

    original = guest.send

    def tell(message: object) -> None:
        original(message)  # type: ignore[arg-type]
        if isinstance(message, Push):
            answer(message)

    guest.send = tell  # type: ignore[method-assign]
    ask = Revoke(id=7, targets=[certificate(2, "article"), ORCHESTRATOR])
    receipt = await revoke(machine, ask, hands.monotonic_ns())
    assert (receipt.id, receipt.unresponsive, receipt.unlisted) == (7, 0, 0)
    assert (receipt.calls_cut, receipt.connections_closed, receipt.attachments) == (2, 5, 1)
    records = [each for each in written if isinstance(each, Revoked)]
    assert {(each.target, each.crew, each.id, each.orchestrator) for each in records} == {
        ("certificate", "article", "2", ""),
        ("orchestrator", "bd", "bd/bd-1", "bd/bd-1"),
    }
    assert {(each.cuts, each.workers) for each in records} == {(7, 1)}
    assert machine.table.is_revoked(certificate_key("article", 2), int(MOMENT))
