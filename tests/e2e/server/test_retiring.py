"""A listener that another process goes on with: what waits in its own socket is served."""

import socket
from pathlib import Path

import pytest
import trio
from tls_listener import running_edge

from crewgate.server.exchange import Exchange

WAITING = 20


def _answer(exchange: Exchange) -> None:
    exchange.respond(200, ())


async def test_connections_that_wait_get_an_answer(tmp_path: Path) -> None:
    """One each, and then they end; the address takes no other connection."""
    async with running_edge(_answer, tmp_path) as edge, trio.open_nursery() as nursery:
        waiting = [socket.create_connection((edge.host, edge.port)) for _ in range(WAITING)]
        assert not edge.listener.connections
        nursery.start_soon(edge.listener.retire, 60)
        for sock in waiting:
            sock.setblocking(False)
            stream = trio.SSLStream(
                trio.SocketStream(trio.socket.from_stdlib_socket(sock)),
                edge.client_context(),
                server_hostname=edge.host,
                https_compatible=True,
            )
            with trio.fail_after(60):
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                answer = b""
                while piece := await stream.receive_some():
                    answer += piece
            await trio.aclose_forcefully(stream)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answer.lower()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((edge.host, edge.port))


async def test_a_listener_without_connections_retires_at_once(tmp_path: Path) -> None:
    """Nothing waits, and nothing is waited for."""
    async with running_edge(_answer, tmp_path) as edge:
        with trio.fail_after(60):
            await edge.listener.retire(3600)
