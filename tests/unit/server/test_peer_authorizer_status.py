"""What a doorman makes of a certificate's status, by what its listener insists on."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from ocsp_world import World, der

from crewgate import limits
from crewgate.config import OCSPMode
from crewgate.core.audit.records import ConnectionRecord, Record
from crewgate.core.ids import certificate_key
from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.core.x509.ocsp_result import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
    UnknownStatus,
)
from crewgate.server.connection_authorizer import Admission
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.request import ClientInfo

WORLD = World(datetime.now(UTC).replace(microsecond=0))
LEAF = der(WORLD.leaf.certificate)
KEY = certificate_key("bd", WORLD.leaf.certificate.serial_number)
GOOD = GoodStatus(time.time() + 60)
DOUBT = UndeterminedStatus(UndeterminedReason.TIMEOUT)


class Table:
    """Revokes what it is told to."""

    def __init__(self) -> None:
        self.dead: set[bytes] = set()

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:
        return key in self.dead


class Sink:
    """Remembers records, and counts the rest."""

    def __init__(self) -> None:
        self.records: list[ConnectionRecord] = []
        self.counted: list[ConnectionRefusalReason] = []

    def write(self, record: Record) -> None:
        assert isinstance(record, ConnectionRecord)
        self.records.append(record)

    def count(self, listener: str, reason: ConnectionRefusalReason, network: str) -> None:
        self.counted.append(reason)


class Guest:
    """A connection that nobody ends here."""

    def abort(self) -> None:
        raise AssertionError("it was not to be ended")

    def drain(self, *, urgent: bool = True) -> None:
        raise AssertionError("nor this")


async def decision(admission: Admission) -> ClientInfo | None:
    """What the authorizer decides, after a wait if it has one."""
    if admission is None or isinstance(admission, ClientInfo):
        return admission
    return await admission


class Scene:
    """A doorman, and an issuer whose word is `status`; `meanwhile` happens as it is asked."""

    def __init__(self, mode: OCSPMode, status: CertificateStatus = GOOD) -> None:
        self.table, self.sink, self.guests = Table(), Sink(), PeerConnections()
        self.asked: list[tuple[bytes, bytes]] = []
        self.status = status
        self.meanwhile: Callable[[], None] = lambda: None
        rules = PeerRules("crews", crews={"bd"}, ocsp=mode)
        self.doorman = PeerAuthorizer(rules, self.guests, lambda: self.table, self.sink, self.check)

    async def check(self, key: bytes, certificate: bytes) -> CertificateStatus:
        self.asked.append((key, certificate))
        self.meanwhile()
        return self.status

    async def come(self) -> ClientInfo | None:
        peer = msgspec.structs.replace(ClientInfo("192.0.2.7", 4711), certificate=LEAF)
        return await decision(self.doorman.admit(peer, Guest()))

    def told(self) -> list[tuple[str, str, str]]:
        return [(each.verdict, each.reason, each.doubt) for each in self.sink.records]


@pytest.mark.parametrize("mode", ["required", "soft-fail"])
async def test_who_is_good_comes_in_without_a_record(mode: OCSPMode) -> None:
    """The issuer is asked for this certificate, under the name that the table has for it."""
    scene = Scene(mode)
    assert await scene.come() is not None
    assert scene.asked == [(KEY, LEAF)]
    assert not scene.sink.records
    assert len(scene.guests) == 1


async def test_off_asks_nobody() -> None:
    """Whatever would be said."""
    scene = Scene("off", RevokedStatus(0, "", 0))
    assert await scene.come() is not None
    assert not scene.asked


@pytest.mark.parametrize("mode", ["required", "soft-fail"])
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (RevokedStatus(0, "keyCompromise", 0), ConnectionRefusalReason.REVOKED),
        (UnknownStatus(), ConnectionRefusalReason.UNKNOWN),
    ],
    ids=["revoked", "unknown"],
)
async def test_the_issuers_no_is_a_no_however_soft_the_listener(
    mode: OCSPMode, status: CertificateStatus, reason: ConnectionRefusalReason
) -> None:
    """Soft-fail is about silence, not about answers."""
    scene = Scene(mode, status)
    assert await scene.come() is None
    assert scene.told() == [("refused", reason.value, "")]
    assert len(scene.guests) == 0


@pytest.mark.parametrize("flaw", list(UndeterminedReason))
async def test_every_doubt_is_a_refusal_where_an_answer_is_required(
    flaw: UndeterminedReason,
) -> None:
    """Fail-closed, and the audit says why nobody could tell."""
    scene = Scene("required", UndeterminedStatus(flaw))
    assert await scene.come() is None
    assert scene.told() == [("refused", "revocation-unavailable", flaw.value)]


async def test_soft_fail_admits_in_doubt_and_records_each() -> None:
    """More than the lines that strangers may cause: none of these is summed up."""
    scene = Scene("soft-fail", DOUBT)
    many = limits.peer_lines_burst + 50
    for _ in range(many):
        assert await scene.come() is not None
    assert scene.told() == [("admitted", "revocation-unavailable", "responder-timeout")] * many
    assert not scene.sink.counted
    record = scene.sink.records[0]
    assert (record.crew, record.orchestrator, record.proven) == ("bd", "bd/bd-1", True)
    assert record.serial


async def test_a_revocation_while_the_issuer_is_asked_is_heard() -> None:
    """The table has the last word, whatever OCSP said."""
    for mode, status in (("required", GOOD), ("soft-fail", DOUBT)):
        scene = Scene(mode, status)  # type: ignore[arg-type]
        scene.meanwhile = lambda scene=scene: scene.table.dead.add(KEY)  # type: ignore[misc]
        assert await scene.come() is None
        assert [reason for _, reason, _ in scene.told()] == ["certificate-revoked"]


async def test_the_table_is_asked_first() -> None:
    """Who is known to be revoked costs the responder nothing."""
    scene = Scene("required")
    scene.table.dead.add(KEY)
    assert await scene.come() is None
    assert not scene.asked


async def test_rules_that_change_while_the_issuer_is_asked_are_the_ones_that_hold() -> None:
    """A listener that became strict does not let in who came before."""
    scene = Scene("soft-fail", DOUBT)
    strict = msgspec.structs.replace(scene.doorman.rules, ocsp="required")
    scene.meanwhile = lambda: setattr(scene.doorman, "rules", strict)
    assert await scene.come() is None
    assert scene.told() == [("refused", "revocation-unavailable", "responder-timeout")]


async def test_a_doorman_who_was_given_nobody_to_ask_is_in_doubt() -> None:
    """It fails closed like any other."""
    scene = Scene("required")
    doorman = PeerAuthorizer(scene.doorman.rules, scene.guests, lambda: scene.table, scene.sink)
    peer = msgspec.structs.replace(ClientInfo("192.0.2.7", 4711), certificate=LEAF)
    assert await decision(doorman.admit(peer, Guest())) is None
    assert scene.told() == [("refused", "revocation-unavailable", "responder-unreachable")]
