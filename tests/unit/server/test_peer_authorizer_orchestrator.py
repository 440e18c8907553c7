"""Revoking an orchestrator as such: whose connections end, and who is not admitted any more."""

from typing import Any

import pytest
from leaf_certificates import leaf

from crewgate import limits
from crewgate.core.ids import certificate_key, orchestrator_key
from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.core.x509.certificate import read
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerConnections, PeerRules
from crewgate.server.request import ClientInfo


class Table:
    """Keys, each with the second up to which what was issued is dead."""

    def __init__(self) -> None:
        self.before: dict[bytes, int] = {}

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:
        return key in self.before and issued_at <= self.before[key]


class Guest:
    """A connection."""

    def abort(self) -> None:
        raise AssertionError("whoever is told to will do it")


class Sink:
    def __init__(self) -> None:
        self.records: list[Any] = []

    def write(self, record: object) -> None:
        self.records.append(record)

    def count(self, listener: str, reason: ConnectionRefusalReason, network: str) -> None:
        raise AssertionError("there are few")


class Gatehouse:
    """A listener's guard for crews bd and finance."""

    def __init__(self) -> None:
        self.table, self.sink, self.guests = Table(), Sink(), PeerConnections()
        rules = PeerRules("crews", crews=frozenset({"bd", "finance"}))
        self.doorman = PeerAuthorizer(rules, self.guests, lambda: self.table, self.sink)

    async def admit(self, certificate: bytes) -> tuple[Guest, ClientInfo | None]:
        guest = Guest()
        peer = self.doorman.admit(ClientInfo("192.0.2.1", certificate=certificate), guest)
        assert peer is None or isinstance(peer, ClientInfo)
        return guest, peer


@pytest.fixture
def house() -> Gatehouse:
    return Gatehouse()


async def test_who_is_admitted_is_known_with_serial_and_end(house: Gatehouse) -> None:
    """What the audit and a call without a token need stands ready on the connection."""
    certificate = leaf("bd", "bd-1")
    _, peer = await house.admit(certificate)
    found = read(certificate)
    assert peer is not None
    assert (peer.crew, peer.serial_text) == ("bd", found.serial_text)
    assert (peer.issued, peer.not_after) == (found.issued, found.not_after)


async def test_its_connections_end_and_no_others(house: Gatehouse) -> None:
    """Those whose certificate was issued until then; a sibling's and another crew's stay."""
    mine, again = leaf("bd", "bd-1"), leaf("bd", "bd-1")
    guests = [
        (await house.admit(certificate))[0]
        for certificate in (mine, again, mine, leaf("bd", "bd-2"), leaf("finance", "bd-1"))
    ]
    assert not house.guests.revoked(house.table)
    issued = max(read(each).issued for each in (mine, again))
    key = orchestrator_key("bd", "bd/bd-1")
    house.table.before[key] = issued - 1 + limits.leeway_seconds  # as the agent dates it
    assert set(house.guests.revoked(house.table)) <= set(guests[:3])
    house.table.before[key] = issued + limits.leeway_seconds
    assert set(house.guests.revoked(house.table)) == set(guests[:3])
    for guest in guests:
        house.doorman.leave(guest)
    assert not house.guests.revoked(house.table)
    assert not house.guests._revocable


async def test_what_was_issued_until_then_is_not_admitted(house: Gatehouse) -> None:
    """In the second of the revocation it is dead, in the next one it is a new beginning."""
    certificate = leaf("bd", "bd-1")
    issued = read(certificate).issued
    key = orchestrator_key("bd", "bd/bd-1")
    for second, admitted in ((issued + 1, False), (issued, False), (issued - 1, True)):
        house.table.before[key] = second + limits.leeway_seconds
        _, peer = await house.admit(certificate)
        assert (peer is not None) is admitted, second - issued
    assert [record.reason for record in house.sink.records] == ["certificate-revoked"] * 2


async def test_the_certificate_itself_is_dead_for_good(house: Gatehouse) -> None:
    """Whenever it was issued."""
    certificate = leaf("bd", "bd-1")
    guest, _ = await house.admit(certificate)
    key = certificate_key("bd", read(certificate).serial)
    house.table.before[key] = limits.time_seconds_max
    assert set(house.guests.revoked(house.table)) == {guest}
    assert set(house.guests.close_set([key])) == {guest}
    assert (await house.admit(certificate))[1] is None
