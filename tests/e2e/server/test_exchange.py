"""The edge over real TLS with a client of another make (httpx): both protocols, both ways."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio
from tls_listener import Edge, running_edge, write_certificate

from crewgate import limits
from crewgate.server.exchange import Exchange
from crewgate.server.tls import server_context

MIB = 2**20
VERSIONS = pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])


def _client_of(edge: Edge, *, http2: bool) -> httpx.AsyncClient:
    return edge.client(http1=not http2, http2=http2)


async def _echo(exchange: Exchange) -> None:
    exchange.start(200, [(b"content-type", b"application/octet-stream")])
    while data := await exchange.read():
        await exchange.send(data)
    exchange.finish()


def _application(exchange: Exchange):  # noqa: ANN202
    if exchange.request.path == b"/inline":
        request = exchange.request
        text = b"%b %b %b" % (request.method, request.target, request.authority)
        exchange.respond(200, [(b"content-type", b"text/plain")], text)
        return None
    return _echo(exchange)


@VERSIONS
async def test_inline_answer(http2: bool, tmp_path: Path) -> None:
    """A request is answered without a task; method, target and authority arrive as sent."""
    async with (
        running_edge(_application, tmp_path) as edge,
        _client_of(edge, http2=http2) as client,
    ):
        for _ in range(3):
            answer = await client.get("/inline?a=%2F&b")
            assert answer.status_code == 200
            assert answer.text == f"GET /inline?a=%2F&b {edge.host}:{edge.port}"
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            assert "date" in answer.headers
        assert len(edge.listener.connections) == 1


@VERSIONS
async def test_large_body_both_ways(http2: bool, tmp_path: Path) -> None:
    """8 MiB go up and come down unchanged, streamed, through windows of 64 KiB."""
    body = bytes(range(256)) * (8 * MIB // 256)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    def swallow(exchange: Exchange):  # noqa: ANN202
        async def work() -> None:
            kept = bytearray()
            while data := await exchange.read():
                kept += data
            exchange.start(200, [])
            for start in range(0, len(kept), 300_000):
                await exchange.send(bytes(kept[start : start + 300_000]))
            exchange.finish()

        return work()

    async with running_edge(swallow, tmp_path) as edge, _client_of(edge, http2=http2) as client:
        answer = await client.post("/x", content=pieces(), timeout=60)
        assert answer.content == body
        answer = await client.post("/x", content=body, timeout=60)
        assert answer.content == body


@VERSIONS
async def test_events_are_not_held_back(http2: bool, tmp_path: Path) -> None:
    """Each event of a stream arrives before the next one is made."""
    go = trio.Event()

    def stream(exchange: Exchange):  # noqa: ANN202
        async def work() -> None:
            exchange.start(200, [(b"content-type", b"text/event-stream")])
            await exchange.send(b"data: 1\n\n")
            await go.wait()
            await exchange.send(b"data: 2\n\n")
            exchange.finish()

        return work()

    async with (
        running_edge(stream, tmp_path) as edge,
        _client_of(edge, http2=http2) as client,
        client.stream("GET", "/sse") as answer,
    ):
        events = answer.aiter_raw()
        assert await anext(events) == b"data: 1\n\n"
        go.set()
        assert b"".join([event async for event in events]) == b"data: 2\n\n"


@VERSIONS
async def test_client_that_hangs_up_cancels_the_work(http2: bool, tmp_path: Path) -> None:
    """When a client leaves in the middle of an answer, its task is cancelled."""
    cancelled = trio.Event()

    def endless(exchange: Exchange):  # noqa: ANN202
        async def work() -> None:
            exchange.start(200, [])
            try:
                await exchange.send(b"x")
                await trio.sleep_forever()
            finally:
                cancelled.set()

        return work()

    async with running_edge(endless, tmp_path) as edge:
        async with _client_of(edge, http2=http2) as client, client.stream("GET", "/") as answer:
            assert answer.status_code == 200
        await cancelled.wait()


@VERSIONS
async def test_error_of_the_application(
    http2: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in the application, inline or in a task, is a 500 and costs nobody else."""

    def broken(exchange: Exchange):  # noqa: ANN202
        async def work() -> None:
            await trio.lowlevel.checkpoint()
            raise ValueError("planted")

        if exchange.request.path == b"/inline":
            raise ValueError("planted")
        return work()

    async with running_edge(broken, tmp_path) as edge, _client_of(edge, http2=http2) as client:
        assert (await client.get("/inline")).status_code == 500
        assert (await client.get("/task")).status_code == 500
    assert "planted" in caplog.text


async def test_unread_body_does_not_stall_other_streams(tmp_path: Path) -> None:
    """While one stream's body is not read, others on its connection send and receive megabytes."""
    release = trio.Event()

    def application(exchange: Exchange):  # noqa: ANN202
        async def hold() -> None:
            await release.wait()
            exchange.respond(204, ())

        return hold() if exchange.request.path == b"/hold" else _echo(exchange)

    async with (
        running_edge(application, tmp_path) as edge,
        _client_of(edge, http2=True) as client,
        trio.open_nursery() as nursery,
    ):
        statuses = []

        async def held() -> None:
            answer = await client.post("/hold", content=bytes(MIB))
            statuses.append(answer.status_code)

        for _ in range(8):
            nursery.start_soon(held)
        body = bytes(2 * MIB)
        answer = await client.post("/echo", content=body, timeout=60)
        assert answer.content == body
        assert len(edge.listener.connections) == 1
        release.set()
    assert statuses == [204] * 8


@VERSIONS
async def test_drain_lets_a_request_end(http2: bool, tmp_path: Path) -> None:
    """A drain refuses new connections, ends idle ones, and lets an answer under way be whole."""
    go = trio.Event()

    def slow(exchange: Exchange):  # noqa: ANN202
        async def work() -> None:
            exchange.start(200, [])
            await exchange.send(b"a")
            await go.wait()
            await exchange.send(b"b")
            exchange.finish()

        return work()

    async with running_edge(slow, tmp_path) as edge, _client_of(edge, http2=http2) as client:
        async with client.stream("GET", "/") as answer, trio.open_nursery() as nursery:
            pieces = answer.aiter_raw()
            assert await anext(pieces) == b"a"
            nursery.start_soon(edge.listener.drain, 30)
            await trio.testing.wait_all_tasks_blocked()
            go.set()
            assert b"".join([piece async for piece in pieces]) == b"b"
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
        assert not edge.listener.connections


async def test_a_client_that_has_just_connected_may_send_its_request_in_a_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shakes hands after the drain has begun, and gets its answer before the end."""
    monkeypatch.setattr(limits, "drain_first_request_seconds", 60.0)
    async with running_edge(_application, tmp_path) as edge, trio.open_nursery() as nursery:
        plain = await trio.open_tcp_stream(edge.host, edge.port)
        while not edge.listener.connections:
            await trio.lowlevel.checkpoint()
        nursery.start_soon(edge.listener.drain, 60)
        await trio.testing.wait_all_tasks_blocked()
        stream = trio.SSLStream(
            plain, edge.client_context(), server_hostname=edge.host, https_compatible=True
        )
        await stream.send_all(b"GET /inline HTTP/1.1\r\nhost: a\r\n\r\n")
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower()
        await trio.aclose_forcefully(stream)


@VERSIONS
async def test_drain_has_a_deadline(http2: bool, tmp_path: Path) -> None:
    """A stream that does not end is cut when the drain's time is over."""
    cancelled = trio.Event()

    def endless(exchange: Exchange):  # noqa: ANN202
        async def work() -> None:
            exchange.start(200, [])
            try:
                await exchange.send(b"x")
                await trio.sleep_forever()
            finally:
                cancelled.set()

        return work()

    async with running_edge(endless, tmp_path) as edge, _client_of(edge, http2=http2) as client:
        async with client.stream("GET", "/") as answer:
            await edge.listener.drain(0)
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
        await cancelled.wait()


async def test_new_certificate_serves_the_next_connection(tmp_path: Path) -> None:
    """A context that is swapped in is used from the next accept on, and open connections go on."""
    async with running_edge(_application, tmp_path) as edge, _client_of(edge, http2=True) as client:
        assert (await client.get("/inline")).status_code == 200
        other = tmp_path / "other"
        other.mkdir()
        edge.listener.context = server_context(*write_certificate(other))
        assert (await client.get("/inline")).status_code == 200
        async with _client_of(edge, http2=True) as stale:
            with pytest.raises(httpx.ConnectError):
                await stale.get("/inline")
        edge.certificate = other / "server.pem"
        async with _client_of(edge, http2=True) as fresh:
            assert (await fresh.get("/inline")).status_code == 200
