"""A connection that breaks is nobody else's trouble."""

import contextlib
import socket
import ssl
import struct
from pathlib import Path

from edge import write_certificate

from crewgate.openssl import forget_errors

_WAIT = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


def _pair(folder: Path) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """A server's and a client's end of one connection, both non-blocking."""
    certificate, key = write_certificate(folder)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.num_tickets = 0
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(certificate))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    far.setblocking(False)
    ends = (
        server.wrap_socket(near, server_side=True, do_handshake_on_connect=False),
        client.wrap_socket(far, server_hostname="localhost", do_handshake_on_connect=False),
    )
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            with contextlib.suppress(*_WAIT):
                end.do_handshake()
                waiting.remove(end)
    return ends


def test_a_reset_is_not_told_to_others(tmp_path: Path) -> None:
    """After a write to a connection that was reset, another one that has nothing to read waits."""
    broken, breaking = _pair(tmp_path)
    other, idle = _pair(tmp_path)
    breaking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    breaking.close()
    failed = False
    while not failed:
        try:
            broken.send(b"x")
        except _WAIT:
            continue
        except OSError:
            failed = True
            forget_errors()
    waits = False
    try:
        other.recv(1)
    except ssl.SSLWantReadError:
        waits = True
    assert waits
    for end in (broken, other, idle):
        end.close()
