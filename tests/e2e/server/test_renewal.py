"""A listener under a new certificate: who sees it, and that nobody's stream is cut for it."""

import ssl
from pathlib import Path

import httpx
import trio
from tls_listener import read_until, running_edge, write_certificate

from crewgate.server.exchange import Exchange
from crewgate.server.tls import server_context


async def _stream(exchange: Exchange, go_on: trio.Event) -> None:
    exchange.start(200, [])
    await exchange.send(b"begun")
    await go_on.wait()
    exchange.finish(b"ended")


async def test_a_stream_outlives_its_certificate(tmp_path: Path) -> None:
    """A stream under way ends in its own time; the next connection sees the new certificate."""
    go_on = trio.Event()
    (tmp_path / "new").mkdir()
    new, key = write_certificate(tmp_path / "new")
    async with running_edge(lambda exchange: _stream(exchange, go_on), tmp_path) as edge:
        client = httpx.AsyncClient(http1=False, http2=True, verify=edge.client_context())
        async with client, client.stream("GET", edge.url, timeout=20) as answer:
            pieces = answer.aiter_raw()
            assert await anext(pieces) == b"begun"
            edge.listener.renew(server_context(new, key))
            stream = await trio.open_tcp_stream(edge.host, edge.port)
            trusting = ssl.create_default_context(cafile=str(new))
            secure = trio.SSLStream(stream, trusting, server_hostname=edge.host)
            await secure.do_handshake()
            await trio.aclose_forcefully(secure)
            go_on.set()
            assert b"".join([piece async for piece in pieces]) == b"ended"


async def test_an_idle_connection_makes_room(tmp_path: Path) -> None:
    """HTTP/1.1 is answered once more, with Connection: close, so that no request is lost."""

    def answer(exchange: Exchange) -> None:
        exchange.respond(200, [], b"ok")

    new, key = write_certificate(tmp_path)
    async with running_edge(answer, tmp_path) as edge:
        stream = await edge.connect("http/1.1")
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"connection: close" not in await read_until(stream, b"ok")
        edge.listener.renew(server_context(new, key))
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"connection: close" in await read_until(stream, b"ok")
        assert await stream.receive_some() == b""
        await trio.aclose_forcefully(stream)


async def test_a_handshake_that_began_before_is_served_once(tmp_path: Path) -> None:
    """It may have proved what counts no more; its client is told to come again."""

    def answer(exchange: Exchange) -> None:
        exchange.respond(200, [], b"ok")

    (tmp_path / "new").mkdir()
    new, key = write_certificate(tmp_path / "new")
    async with running_edge(answer, tmp_path) as edge:
        plain = await trio.open_tcp_stream(edge.host, edge.port)
        with trio.fail_after(20):
            while not edge.listener.connections:  # noqa: ASYNC110 - nothing tells of an accept
                await trio.sleep(0.01)
        edge.listener.renew(server_context(new, key))
        secure = trio.SSLStream(plain, edge.client_context("http/1.1"), server_hostname=edge.host)
        await secure.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"connection: close" in await read_until(secure, b"ok")
        await trio.aclose_forcefully(secure)
