"""How the agent hears of revoked certificates, against a scripted one behind a real socket."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import forged_certificates
import pytest
from revocation_targets import orchestrator

from crewgate import limits
from crewgate.ca.authority import Authority
from crewgate.ca.certificates import new_key
from crewgate.ca.revocation_propagation import announce
from crewgate.config import CAConfig
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import ServiceConnectionError, ServiceRefusedError
from crewgate.ipc.admin_messages import RevocationReceipt, Revoke, owner_asks
from crewgate.ipc.attach_messages import RequestFailed, pack, unpack
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.sockets import AgentSocketKind, connectable


@contextmanager
def agent(
    folder: Path, asked: list[list[RevocationTarget]], *, refuses: bool = False
) -> Iterator[None]:
    """Answers each question with one connection closed a name."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connectable(folder, AgentSocketKind.OWNER.value) as where:
        listener.bind(where)
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        decoder = FrameDecoder()
        with connection:
            while data := connection.recv(2**20):
                for body in decoder.feed(data):
                    ask = unpack(owner_asks, body)
                    assert isinstance(ask, Revoke)
                    asked.append(ask.targets)
                    connection.sendall(pack(_answer(ask, refuses=refuses)))

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield
    thread.join()


def _answer(ask: Revoke, *, refuses: bool) -> RevocationReceipt | RequestFailed:
    if refuses:
        return RequestFailed(id=ask.id, message="no room")
    count = len(ask.targets)
    return RevocationReceipt(
        id=ask.id, targets=ask.targets, read_ns=count, last_cut_ns=count, cut_ms=float(count),
        calls_cut=2 * count, connections_closed=count, attachments=2, unresponsive=count % 2,
    )  # fmt: skip


@pytest.fixture
def authority(ca: CAConfig, now: datetime) -> Iterator[Authority]:
    """A CA with 300 certificates, all revoked and none announced."""
    with Authority(ca) as authority:
        public = new_key().public_key()
        entries = [authority.issue(forged_certificates.bd(), public, now) for _ in range(300)]
        authority.revoke([entry.serial for entry in entries], "unspecified", now)
        yield authority


def test_many_are_told_in_steps_and_added_up(authority: Authority, tmp_path: Path) -> None:
    """What comes besides is in the first step; each is told once, and then nothing is pending."""
    asked: list[list[RevocationTarget]] = []
    more = orchestrator("bd/bd-1", "bd")
    entries = authority.register.pending()
    with agent(tmp_path, asked):
        done = announce(authority.register, tmp_path, entries, [more])
    most = limits.ipc_targets_max
    assert [len(names) for names in asked] == [most, 301 - most]
    assert asked[0][0] == more
    told = [name.name for names in asked for name in names][1:]
    assert told == [entry.serial for entry in entries]
    assert done == RevocationReceipt(
        targets=[each for targets in asked for each in targets], read_ns=most, last_cut_ns=most,
        cut_ms=float(most), calls_cut=602, connections_closed=301, attachments=2, unresponsive=1,
    )  # fmt: skip
    assert authority.register.pending() == []


def test_what_was_not_told_stays_pending(authority: Authority, tmp_path: Path) -> None:
    """Nobody is there, or it will not."""
    entries = authority.register.pending()
    with pytest.raises(ServiceConnectionError):
        announce(authority.register, tmp_path, entries)
    with agent(tmp_path, [], refuses=True), pytest.raises(ServiceRefusedError, match="no room"):
        announce(authority.register, tmp_path, entries)
    assert len(authority.register.pending()) == 300


def test_an_ended_one_is_told_too(authority: Authority, tmp_path: Path) -> None:
    """For no time: a connection may have outlived its certificate."""
    asked: list[list[RevocationTarget]] = []
    pending = authority.register.pending()[:1]
    with agent(tmp_path, asked):
        announce(authority.register, tmp_path, pending, wall=lambda: pending[0].not_after + 1.5)
    ((name,),) = asked
    assert name.seconds == 0


def test_a_gateways_is_remembered_for_as_long_as_it_would_live(
    ca: CAConfig, now: datetime, tmp_path: Path
) -> None:
    """A year, in which its key would be a member's: no list is asked when machines meet."""
    asked: list[list[RevocationTarget]] = []
    identity = forged_certificates.bd("gw-1", Role.GATEWAY, "")
    with Authority(ca) as authority:
        life = limits.gateway_life_seconds_max
        entry = authority.issue(identity, new_key().public_key(), now, life_seconds=life)
        authority.revoke([entry.serial], "keyCompromise", now)
        with agent(tmp_path, asked):
            announce(authority.register, tmp_path, [entry], wall=now.timestamp)
    ((name,),) = asked
    assert name.seconds == limits.gateway_life_seconds_max
