"""A connection that breaks harms no other, and no key has OpenSSL ask the terminal."""

import contextlib
import re
import socket
import ssl
import struct
from pathlib import Path

import pytest
from authority import Authority
from tls_listener import write_certificate

import crewgate
from crewgate.ssl_workarounds import forget_errors, show_certificate

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


def test_a_certificate_that_cannot_be_shown_is_told_with_its_file(tmp_path: Path) -> None:
    """The error names a missing file, two files that are no pair, and an encrypted key."""
    authority = Authority(tmp_path)
    mine, other, locked = authority.issue(), authority.issue(), authority.issue(password="secret")
    missing = tmp_path / "missing"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for certificate, key, said in (
        (missing, mine.key, f"{missing}: No such file or directory; give a PEM chain"),
        (mine.certificate, missing, f"{missing}: No such file or directory; give a PEM chain"),
        (mine.certificate, other.key, f"certificate {mine.certificate} with key {other.key}: "),
        (mine.certificate, other.key, "the key does not belong to the certificate; give a PEM"),
        (*locked, "the key is encrypted; give a PEM chain and its unencrypted PEM key"),
    ):
        with pytest.raises(OSError, match=re.escape(said)):
            show_certificate(context, certificate, key)
    show_certificate(context, *mine)


def test_there_is_one_way_to_load_a_key_from_a_file() -> None:
    """`run` loads from a pipe, and the demo loads what it has just made; both are unencrypted."""
    root = Path(crewgate.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if ".load_cert_chain(" in path.read_text()
    }
    assert found == {"ssl_workarounds.py", "sidecar/credentials.py", "demo/agents.py"}
