"""Certificates and orchestrators can be ended though the CA's disk takes nothing."""

import shutil
import time
from contextlib import closing

import msgspec
import pytest
from ca_world import ADA, BD, Agent, first, opened, own, status
from control_world import ca_of, csr
from cryptography import x509
from full_register import full_books, full_list

from crewgate.api.backend import CertificateRequest
from crewgate.ca import unrecorded_revocations
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca.decommission_intents import DecommissionIntents
from crewgate.config import Config
from crewgate.control.ca_service import CAService
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import CAError, ControlError, ServiceConnectionError
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunState, OrchestratorRunStore
from crewgate.lifecycle.processes import this


def listed(config: Config) -> set[str]:
    """The serials that gateways refuse by the list."""
    crl = x509.load_pem_x509_crl(ca_of(config).crl.read_bytes())
    return {serial_text(each.serial_number) for each in crl}


def test_on_a_full_disk_a_certificate_is_ended_at_once_and_written_later(
    desk: CAService, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway hears of it, nothing comes after it, and the receipt says what is missing."""
    entry = first(desk, BD)
    with full_books(monkeypatch):
        answer = desk.revoke_certificate(entry.serial, "superseded")
        assert agent.heard == ([entry.serial], [])
        assert (answer.applied_on, answer.certificates) == (1, [entry.serial])
        assert "disk is full" in answer.unwritten
        assert status(desk, own(desk, BD, entry)) == 401
        desk.complete()
        assert "disk is full" in desk.unwritten_reason
    desk.complete()
    assert desk.unwritten_reason == ""
    assert status(desk, own(desk, BD, entry)) == 401


def test_on_a_full_disk_an_orchestrator_is_ended_at_once_and_for_good_later(
    desk: CAService, agent: Agent, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its intent too: no certificate is signed for it meanwhile, and its process is condemned."""
    entry = first(desk, BD)
    with OrchestratorRunStore(ca_of(config).register) as lives:
        lives.begin("bd", "bd-1", this(), BD.instance, lambda _: None)
    with full_books(monkeypatch):
        answer = desk.revoke_orchestrator("bd", "bd-1", "unspecified")
        assert agent.heard == ([entry.serial], ["bd/bd-1"])
        assert "disk is full" in answer.unwritten
        by = CertificateRequest(msgspec.structs.replace(BD, instance=b""), csr(), entry.serial)
        with pytest.raises((CAError, ControlError)):
            desk.certify(by)
        desk.complete()
        assert "disk is full" in desk.unwritten_reason
        with OrchestratorRunStore(ca_of(config).register) as lives:
            assert [life.state for life in lives.open()] == [OrchestratorRunState.RUNNING]
    desk.complete()
    with OrchestratorRunStore(ca_of(config).register) as lives:
        assert [life.state for life in lives.open()] == [OrchestratorRunState.ENDING]
    found = desk.authority.register.find(entry.serial)
    assert found is not None
    assert found.revoked is not None
    assert desk.unwritten_reason == ""
    desk.complete()
    assert agent.told == [([entry.serial], ["bd/bd-1"])]


@pytest.mark.parametrize("is_written", [False, True])
def test_the_gateway_is_told_once_while_the_disk_is_in_trouble(
    desk: CAService, agent: Agent, monkeypatch: pytest.MonkeyPatch, *, is_written: bool
) -> None:
    """Only the writing is tried again, every second; also of what the disk took before that."""
    entry = first(desk, BD)
    if is_written:
        agent.away = True
        desk.revoke_orchestrator("bd", "bd-1", "unspecified")
        agent.away = False
    with full_books(monkeypatch):
        if not is_written:
            desk.revoke_orchestrator("bd", "bd-1", "unspecified")
        for _ in range(3):
            desk.complete()
        assert agent.heard == ([entry.serial], ["bd/bd-1"])
    desk.complete()
    assert agent.heard == ([entry.serial], ["bd/bd-1"])
    desk.revoke_orchestrator("bd", "bd-1", "unspecified")
    assert agent.heard[1] == ["bd/bd-1"] * 2


@pytest.mark.parametrize("change", ["reload", "another folder", "restart"])
def test_what_the_disk_did_not_take_outlives(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A new configuration, also one with the CA on another disk, and a new process."""
    desk = opened(config)
    entry, other = first(desk, BD), first(desk, ADA)
    ca = ca_of(config)
    moved = ca.folder.with_name("moved")
    with full_books(monkeypatch):
        if change == "another folder":
            shutil.copytree(ca.folder, moved)
            ca = msgspec.structs.replace(ca, folder=moved)
        elif change == "reload":
            desk.revoke_orchestrator("bd", "bd-1", "unspecified")
            desk.revoke_certificate(other.serial, "superseded")
        after = CAService(ca, config.state, {"bd"})  # it is opened while the one before still works
        if change != "reload":
            desk.revoke_orchestrator("bd", "bd-1", "unspecified")
            desk.revoke_certificate(other.serial, "superseded")
        if change == "restart":
            desk.close()
            after.close()
            monkeypatch.setattr(unrecorded_revocations, "_BY_PATH", {})
            after = desk = opened(config)
        else:
            desk.held.hand_to(after.held)
            desk.close()
        after.complete()
        assert after.unwritten_reason
        with pytest.raises((CAError, ControlError)):
            after.certify(
                CertificateRequest(msgspec.structs.replace(BD, instance=b""), csr(), entry.serial)
            )
        assert status(after, own(after, ADA, other)) == 401
    after.complete()
    assert after.unwritten_reason == ""
    assert agent.heard[1] == ["bd/bd-1"] * (2 if change == "restart" else 1)
    after.close()
    monkeypatch.setattr(unrecorded_revocations, "_BY_PATH", {})
    with closing(CAService(ca, config.state, {"bd"})) as last:
        assert last.unwritten_reason == ""
        found = [last.authority.register.find(each.serial) for each in (entry, other)]
        assert [each.status(0) for each in found if each] == ["revoked", "revoked"]


def test_a_restart_that_would_forget_says_so(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other file fails too: the receipt has it."""
    desk = opened(config)
    entry = first(desk, BD)
    (config.state / "unwritten").unlink()
    (config.state / "unwritten").mkdir()
    with full_books(monkeypatch):
        answer = desk.revoke_certificate(entry.serial, "superseded")
        assert "a restart before that would lose them" in answer.unwritten
        (config.state / "unwritten").rmdir()
        desk.complete()
        assert "forgets" not in desk.unwritten_reason
    desk.close()


def test_a_damaged_file_of_the_process_before_is_no_empty_one(config: Config) -> None:
    """A certificate that was ended could be renewed: the CA does not work before a person looks."""
    (config.state / "unwritten").write_bytes(b"x" * 4096)
    with pytest.raises(CAError, match="remove the file, and repeat the revocations"):
        opened(config)


def test_a_list_that_cannot_be_written_keeps_no_revocation_from_the_gateway(
    desk: CAService, agent: Agent, config: Config
) -> None:
    """Its disk may be another one than the register's."""
    entry = first(desk, BD)
    crl = ca_of(config).crl
    crl.unlink()
    crl.mkdir()
    answer = desk.revoke_certificate(entry.serial, "superseded")
    assert agent.heard == ([entry.serial], [])
    assert str(crl) in answer.unwritten
    with pytest.raises(CAError, match="cannot be written"):
        desk.catch_up()
    crl.rmdir()
    desk.catch_up()
    assert listed(config) == {entry.serial}


def test_an_end_whose_list_has_no_room_is_complete_and_the_list_follows(
    desk: CAService, agent: Agent, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt says what is missing, asked again too; nothing else waits for the list."""
    entry = first(desk, BD)
    with full_list(monkeypatch):
        for _ in range(2):
            answer = desk.revoke_orchestrator("bd", "bd-1", "unspecified")
            assert "No space left on device; make room there" in answer.unwritten
        assert list(DecommissionIntents(ca_of(config).folder).open()) == []
        desk.complete()
        assert listed(config) == set()
    desk.catch_up()
    assert listed(config) == {entry.serial}
    assert desk.revoke_orchestrator("bd", "bd-1", "unspecified").unwritten == ""


def test_a_list_that_lacks_nothing_is_left_alone(
    desk: CAService, agent: Agent, config: Config
) -> None:
    """Each new list is work for every worker; one that is gone or damaged is written anew."""
    crl = ca_of(config).crl
    first(desk, BD)
    desk.revoke_certificate(first(desk, ADA).serial, "superseded")
    agent.away = True
    desk.revoke_orchestrator("bd", "bd-1", "unspecified")
    before = crl.read_bytes()  # with its number
    for _ in range(3):
        desk.catch_up()
        with pytest.raises(ServiceConnectionError):
            desk.complete()
    assert crl.read_bytes() == before
    for spoil in (crl.unlink, lambda: crl.write_text("nonsense")):
        serials = listed(config)
        spoil()
        desk.catch_up()
        assert listed(config) == serials


def test_who_revoked_and_died_before_the_list_is_followed(
    desk: CAService, agent: Agent, config: Config
) -> None:
    """`crewgate ca revoke` was killed in between: whether the gateway has heard by then or not."""
    serials = set()
    for is_told in (False, True):
        entry = first(desk, BD)
        serials.add(entry.serial)
        with CertificateDB(ca_of(config).register) as register:
            register.revoke([entry.serial], "unspecified", int(time.time()))
        if is_told:
            desk.complete()
        desk.catch_up()
        assert listed(config) == serials
