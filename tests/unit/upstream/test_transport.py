"""A wire over TLS: what counts as sent is what the server can read."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from h2_upstream import Turns
from tls_listener import write_certificate

from crewgate._datapath.transport import Transport

DATA = bytes(range(256)) * 1024


class User:
    """Nobody who speaks a protocol."""

    drained_times = 0

    def drained(self) -> None:
        self.drained_times += 1


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Both ends of a TLS connection whose kernel holds little."""
    certificate, key = write_certificate(tmp_path)
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    for sock in (ours, theirs):
        sock.settimeout(0)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(certificate))
    how = {"do_handshake_on_connect": False}
    secure = client.wrap_socket(ours, server_hostname="localhost", **how)
    other = server.wrap_socket(theirs, server_side=True, **how)
    for end in (secure, other) * 3:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    yield secure, other
    secure.close()
    other.close()


def _read(end: ssl.SSLSocket) -> bytes:
    data = b""
    with suppress(ssl.SSLWantReadError):
        while piece := end.recv(2**20):
            data += piece
    return data


def test_what_the_server_can_read_is_sent(ends: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    """Also of data that is larger than the kernel's room: a call whose head it has is touched."""
    ours, theirs = ends
    user = User()
    turns = Turns()
    wire = Transport(ours, turns, user)  # type: ignore[arg-type]
    wire.send(DATA)
    assert 0 < wire.sent < len(DATA)
    assert wire.sent + wire.queued == len(DATA)
    heard = _read(theirs)
    assert len(heard) == wire.sent
    wire.send(b"end")
    for _ in range(100):
        turns.take()
        heard += _read(theirs)
        assert len(heard) == wire.sent
    assert heard == DATA + b"end"
    assert (wire.queued, user.drained_times > 0) == (0, True)
    wire.close()
