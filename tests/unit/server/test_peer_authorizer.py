"""Who may enter, judged from a certificate alone; and who must leave again."""

import time
from datetime import timedelta
from typing import Any

import forged_certificates
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.ca.certificates import CertificateAndKey
from crewgate.core.audit.records import ConnectionRecord
from crewgate.core.ids import branch_key, certificate_key
from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.core.x509.identity_extension import Role
from crewgate.server.connection_authorizer import Admission
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules, disconnect_record
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.request import ClientInfo

ISSUING = forged_certificates.other_issuing()
RULES = PeerRules("crews", is_required=True, crews=("bd", "finance"))
OPTIONAL = PeerRules("crews", is_required=False, crews=("bd", "finance"))


class Table:
    """What is revoked."""

    def __init__(self) -> None:
        self.revoked: set[bytes] = set()

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:
        return key in self.revoked


class Sink:
    """What was written, and what was only counted."""

    def __init__(self) -> None:
        self.records: list[ConnectionRecord] = []
        self.counted: list[ConnectionRefusalReason] = []

    def write(self, record: Any) -> None:
        self.records.append(record)

    def count(self, listener: str, reason: ConnectionRefusalReason, network: str) -> None:
        self.counted.append(reason)


class Guest:
    """A connection that notes what is done to it."""

    def __init__(self) -> None:
        self.done = ""

    def abort(self) -> None:
        self.done = "aborted"

    def drain(self, *, urgent: bool = True) -> None:
        self.done = self.done or "drained"


class Door:
    """A doorman and all that he is lent."""

    def __init__(self, rules: PeerRules = RULES) -> None:
        self.table, self.sink, self.guests = Table(), Sink(), PeerConnections()
        self.doorman = PeerAuthorizer(rules, self.guests, lambda: self.table, self.sink)

    async def admit(
        self, issued: CertificateAndKey | None, guest: Guest | None = None
    ) -> ClientInfo | None:
        return without_wait(self.doorman.admit(_peer(issued), guest or Guest()))

    async def why(self, issued: CertificateAndKey | None) -> str:
        """The reason of the refusal."""
        assert await self.admit(issued) is None
        assert len(self.guests) == 0
        (record,) = self.sink.records
        assert (record.verdict, record.listener, record.peer) == ("refused", "crews", "::/48")
        return record.reason


def without_wait(admission: Admission) -> ClientInfo | None:
    """What the authorizer decided. Without OCSP it decides at once, so that no task is needed."""
    assert admission is None or isinstance(admission, ClientInfo)
    return admission


def _peer(issued: CertificateAndKey | None) -> ClientInfo:
    data = None if issued is None else issued.certificate.public_bytes(Encoding.DER)
    return ClientInfo("::1", certificate=data)


def _leaf(**options: Any) -> CertificateAndKey:
    return forged_certificates.leaf(ISSUING, **{"identity": forged_certificates.bd(), **options})


async def test_an_orchestrator_of_a_crew_enters() -> None:
    """The peer that speaks from then on has its identity, serial and end; nothing is written."""
    door, leaf = Door(), _leaf()
    peer = await door.admit(leaf)
    assert peer is not None
    assert (peer.crew, peer.serial) == ("bd", leaf.certificate.serial_number)
    assert peer.not_after == leaf.certificate.not_valid_after_utc.timestamp()
    assert len(door.guests) == 1
    assert door.sink.records == []


AGENT = forged_certificates.bd(role=Role.AGENT)


async def test_the_agent_of_a_branch_enters_until_its_branch_is_revoked() -> None:
    door, leaf, guest = Door(), _leaf(identity=AGENT), Guest()
    peer = await door.admit(leaf, guest)
    assert peer is not None
    key = branch_key("bd", AGENT.branch)
    assert (peer.crew, peer.branch_key) == ("bd", key)
    door.table.revoked.add(branch_key("finance", AGENT.branch))
    assert door.guests.revoked(door.table) == {}
    door.table.revoked.add(key)
    assert door.guests.revoked(door.table) == {guest: peer}
    door.guests.leave(guest)
    assert await door.why(_leaf(identity=AGENT)) == "certificate-revoked"
    (record,) = door.sink.records
    assert (record.orchestrator, record.branch) == ("bd/bd-1", AGENT.branch)
    # An orchestrator whose instance is the id of the branch is no agent.
    peer = await door.admit(_leaf())
    assert peer is not None
    assert peer.branch_key is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"usages": None}, "no-client-usage"),
        ({"usages": forged_certificates.SERVER}, "no-client-usage"),
        ({"identity": None}, "no-identity"),
        ({"identity": b"\x30\x00"}, "no-identity"),
        ({"identity": forged_certificates.bd(crew="marketing")}, "crew-not-admitted"),
        ({"identity": forged_certificates.bd("edge", Role.GATEWAY)}, "role-not-admitted"),
        ({"identity": forged_certificates.bd("ada", Role.OPERATOR)}, "role-not-admitted"),
        ({"identity": forged_certificates.bd(role=Role.AGENT, crew="x")}, "crew-not-admitted"),
    ],
)
async def test_each_refusal_has_its_reason(options: dict[str, Any], reason: str) -> None:
    """And names the certificate, proven as it is."""
    door = Door()
    assert await door.why(_leaf(**options)) == reason
    record = door.sink.records[0]
    assert record.proven
    assert (record.serial, record.subject) != ("", "")


async def test_an_authority_is_no_client() -> None:
    """The issuing CA itself knocks."""
    assert await Door().why(ISSUING) == "no-identity"


async def test_no_certificate_where_one_is_optional_or_has_just_become_required() -> None:
    """A handshake may have begun before a reload asked for one."""
    door = Door(OPTIONAL)
    assert await door.admit(None) == _peer(None)
    door.doorman.change(RULES)
    assert await door.why(None) == "no-certificate"


async def test_what_is_no_certificate_is_refused() -> None:
    """OpenSSL would not have let it through; we do not count on it."""
    door = Door()
    assert (
        without_wait(door.doorman.admit(ClientInfo("::1", certificate=b"nonsense"), Guest()))
        is None
    )
    assert door.sink.records[0].reason == "certificate-invalid"


async def test_the_table_refuses_and_so_does_what_was_pushed_without_a_place_in_it() -> None:
    """A list of the revoked may be older than the handshake, and the table full."""
    leaf = _leaf()
    key = certificate_key("bd", leaf.certificate.serial_number)
    door = Door()
    door.table.revoked.add(key)
    assert await door.why(leaf) == "certificate-revoked"
    door = Door()
    assert door.guests.close_set([key]) == {}
    assert await door.why(leaf) == "certificate-revoked"


async def test_the_doomed_are_those_of_the_certificate() -> None:
    """Two connections of one, one of another; by key, and by a look at the table."""
    door, mine, other = Door(), _leaf(), _leaf()
    guests = [Guest(), Guest(), Guest()]
    for leaf, guest in zip((mine, mine, other), guests, strict=True):
        await door.admit(leaf, guest)
    key = certificate_key("bd", mine.certificate.serial_number)
    assert set(door.guests.close_set([key])) == set(guests[:2])
    assert door.guests.revoked(door.table) == {}
    door.table.revoked.add(key)
    assert set(door.guests.revoked(door.table)) == set(guests[:2])
    for guest in guests:
        door.doorman.leave(guest)
        door.doorman.leave(guest)
    assert len(door.guests) == 0
    assert door.guests.close_set([key]) == {}


async def test_other_rules_end_whom_they_do_not_admit() -> None:
    """With a record each; connections of another listener are none of this doorman's."""
    door, stays, goes, elsewhere = Door(), Guest(), Guest(), Guest()
    await door.admit(_leaf(), stays)
    await door.admit(_leaf(identity=forged_certificates.bd(crew="finance")), goes)
    other = PeerRules("other", is_required=True, crews=("finance",))
    neighbour = PeerAuthorizer(other, door.guests, lambda: door.table, door.sink)
    neighbour.admit(_peer(_leaf(identity=forged_certificates.bd(crew="finance"))), elsewhere)
    door.doorman.change(PeerRules("crews", is_required=True, crews=("bd",)))
    assert [guest.done for guest in (stays, goes, elsewhere)] == ["", "aborted", ""]
    (record,) = door.sink.records
    assert (record.verdict, record.reason) == ("expelled", "crew-not-admitted")
    assert len(door.guests) == 2


async def test_a_connection_ends_with_its_certificate() -> None:
    """First nothing new is taken, then what still runs is cut: a certificate lives for hours."""
    door, guest = Door(), Guest()
    leaf = _leaf(end=forged_certificates.now() + timedelta(hours=1))
    await door.admit(leaf, guest)
    end = leaf.certificate.not_valid_after_utc.timestamp()
    assert door.guests.drain_expired(end) == {}
    assert guest.done == ""
    assert door.guests.drain_expired(end + 1) == {}
    assert guest.done == "drained"
    last = end + limits.certificate_overrun_seconds
    assert door.guests.drain_expired(last) == {}
    assert list(door.guests.drain_expired(last + 1)) == [guest]


async def test_a_failed_handshake_is_noted_unproven() -> None:
    """What was shown is named; what is about no certificate is not written at all."""
    door, leaf = Door(), _leaf()
    door.doorman.refused(_peer(leaf), ConnectionRefusalReason.EXPIRED)
    door.doorman.refused(_peer(None), ConnectionRefusalReason.NO_CERTIFICATE)
    door.doorman.refused(_peer(None), ConnectionRefusalReason.HANDSHAKE)
    first, second = door.sink.records
    assert (first.reason, first.proven, first.crew) == ("certificate-expired", False, "")
    assert int(first.serial, 16) == leaf.certificate.serial_number
    assert (second.reason, second.serial) == ("no-certificate", "")


async def test_a_flood_is_counted_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the burst each refusal is a number in a summary."""
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    door = Door()
    for _ in range(limits.peer_lines_burst + 7):
        door.doorman.refused(_peer(None), ConnectionRefusalReason.NO_CERTIFICATE)
    assert len(door.sink.records) == limits.peer_lines_burst
    assert door.sink.counted == [ConnectionRefusalReason.NO_CERTIFICATE] * 7


def test_an_expelled_one_is_named() -> None:
    """From what it was admitted with."""
    leaf = _leaf()
    peer = msgspec.structs.replace(
        _peer(leaf),
        identity=forged_certificates.bd(),
        serial=leaf.certificate.serial_number,
        listener="crews",
    )
    record = disconnect_record(peer, 10**18)
    assert (record.verdict, record.orchestrator, record.crew) == ("expelled", "bd/bd-1", "bd")
    assert int(record.serial, 16) == leaf.certificate.serial_number
