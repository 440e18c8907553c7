"""Which connections of operators a revocation closes, and which are not admitted."""

import datetime as dt
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate.core.ids import certificate_key
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import ServiceConnectionError
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.request import ClientInfo
from crewgate.ui import operator_revocations as module
from crewgate.ui.operator_revocations import OperatorRevocations


class Connection:
    def __init__(self) -> None:
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True

    def drain(self, *, urgent: bool = True) -> None:
        """Go on: no test waits for the end."""


class Table:
    """The table of an agent; `revoked` are keys."""

    def __init__(self) -> None:
        self.retired = False
        self.fresh_until = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**12
        self.synced_until = self.fresh_until
        self.revoked: set[bytes] = set()

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:
        return key in self.revoked

    def close(self) -> None:
        """Do nothing."""


class World:
    """Two operators who are connected, an agent that may be away, and the records written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.agent: Table | None = Table()
        self.records: list[Any] = []
        self.asked = self.turns = 0
        self.is_needed = True
        self.connections = PeerConnections()
        sink: Any = self
        self.revocations = OperatorRevocations(
            Path("state"), "ui", self.connections, sink, lambda: self.is_needed
        )
        self.ada, self.bob = (self.connect(serial) for serial in (1, 2))
        monkeypatch.setattr(module, "open_table", self.open_table)
        monkeypatch.setattr(module, "sleep_until_tick", self.turn)

    def connect(self, serial: int) -> Connection:
        identity = Identity(Role.OPERATOR, f"operator-{serial}", bytes(16))
        far = int(time.time()) + 3600
        peer = ClientInfo(
            "192.0.2.1", 1, identity=identity, serial=serial, listener="ui", not_after=far
        )
        connection: Any = Connection()
        self.connections.enter(certificate_key("", serial), connection, peer)
        return connection  # type: ignore[no-any-return]

    def open_table(self, folder: Path) -> Table:
        self.asked += 1
        if self.agent is None:
            raise ServiceConnectionError("away")
        return self.agent

    async def turn(self, _seconds: float) -> None:
        self.turns += 1
        await trio.lowlevel.checkpoint()

    def write(self, record: Any) -> None:
        self.records.append(record)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def until(true: Any) -> None:
    while not true():
        await trio.lowlevel.checkpoint()


async def test_a_revocation_in_the_table_closes_its_connection(world: World) -> None:
    """And no other one; the audit says whom it has cut off."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.revocations.follow)
        assert world.agent is not None
        world.agent.revoked.add(certificate_key("", 1))
        await until(lambda: world.ada.is_aborted)
        nursery.cancel_scope.cancel()
    assert not world.bob.is_aborted
    (record,) = world.records
    assert (record.verdict, record.serial) == ("expelled", "01")


async def test_without_a_table_nobody_is_admitted(world: World) -> None:
    """An agent that is away, or that does not confirm its table, may hide a revocation."""
    key = certificate_key("", 1)
    assert world.revocations.table().is_revoked(key)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.revocations.follow)
        await until(lambda: not world.revocations.table().is_revoked(key))
        assert world.agent is not None
        world.agent.fresh_until = 0
        assert world.revocations.table().is_revoked(key)
        world.agent.fresh_until, world.agent.synced_until = 2**62, 0
        assert world.revocations.table().is_revoked(key)
        world.agent.synced_until = 2**62
        world.agent.retired = True
        assert world.revocations.table().is_revoked(key)
        world.agent.retired, before = False, world.asked
        world.agent = None
        await until(lambda: world.asked > before + 1)
        assert not world.revocations.table().is_revoked(key)  # the last table is still fresh
        nursery.cancel_scope.cancel()
    assert not world.ada.is_aborted
    assert world.revocations.table().is_revoked(key)


async def test_a_page_without_certificates_asks_no_agent(world: World) -> None:
    world.is_needed = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.revocations.follow)
        await until(lambda: world.turns > 3)
        nursery.cancel_scope.cancel()
    assert world.asked == 0


async def test_a_revocation_in_the_list_closes_its_connection(world: World, tmp_path: Path) -> None:
    """Also one that no agent knows."""
    await world.revocations.apply_crl(_crl(tmp_path, 2))
    assert world.bob.is_aborted
    assert not world.ada.is_aborted
    assert [each.serial for each in world.records] == ["02"]


async def test_a_damaged_list_is_an_error(world: World, tmp_path: Path) -> None:
    """The server keeps the last one and tries again."""
    path = tmp_path / "crl.pem"
    path.write_text("not a list")
    with pytest.raises(ValueError, match="PEM"):
        await world.revocations.apply_crl(path)


def _crl(folder: Path, serial: int) -> Path:
    now = dt.datetime.now(dt.UTC)
    revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")])
    builder = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(now)
    builder = builder.next_update(now + dt.timedelta(days=1)).add_revoked_certificate(revoked)
    crl = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    path = folder / "crl.pem"
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    return path
