"""The two ways in which a client's socket reads and writes TLS, and the check that chooses one."""

import os
import ssl
from pathlib import Path

import pytest
from tls_listener import running_edge

from crewgate import limits
from crewgate._datapath import client_socket
from crewgate.server.exchange import Exchange


async def _echo(exchange: Exchange) -> None:
    exchange.start(200, [])
    while data := await exchange.read():
        await exchange.send(data)
    exchange.finish()


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("reads_openssl", [False, True], ids=["public", "openssl"])
async def test_bodies_pass_unchanged(
    reads_openssl: bool, http2: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that fills the sockets goes up and comes down, with OpenSSL's object and without."""
    monkeypatch.setattr(client_socket, "READS_OPENSSL", reads_openssl)
    body = os.urandom(8 * limits.buffer_bytes_max)
    async with (
        running_edge(_echo, tmp_path) as edge,
        edge.client(http1=not http2, http2=http2) as client,
    ):
        for _ in range(2):
            assert (await client.post("/", content=body)).content == body


class _Changed:
    """OpenSSL's object of another Python: `read` has other arguments, or does not wait."""

    def __init__(self, read: object, write: object) -> None:
        self._sslobj = self
        self.read, self.write = read, write


def _waits(*_: object) -> int:
    raise ssl.SSLWantReadError


def test_the_check_knows_this_python_and_not_another() -> None:
    """Today's Python passes. Other arguments, or an answer where it must wait, do not."""
    assert client_socket.READS_OPENSSL
    assert client_socket.reads_as_expected(_Changed(_waits, _waits))
    for changed in (
        _Changed(lambda size: b"", _waits),
        _Changed(lambda size, buffer: 1, _waits),
        _Changed(_waits, lambda: 1),
        _Changed(_waits, lambda data: 1),
        object(),
    ):
        assert not client_socket.reads_as_expected(changed)
