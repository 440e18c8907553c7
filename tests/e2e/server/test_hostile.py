"""What one hostile connection may do: end itself. The listener and its other clients go on."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trio
from hostile_requests import HTTP1, HTTP2, MALFORMED
from http2_frames import PREFACE
from hyperframe.frame import GoAwayFrame, PingFrame
from tls_listener import Edge, read_all, read_until, running_edge

from crewgate import limits
from crewgate.server.exchange import Exchange


def application(exchange: Exchange):  # noqa: ANN201
    """Answer inline, or read the body first."""

    async def work() -> None:
        while await exchange.read():
            pass
        exchange.respond(200, [], b"read")

    if exchange.request.path == b"/read":
        return work()
    exchange.respond(200, [], b"fine")
    return None


async def assert_alive(edge: Edge, bystander: httpx.AsyncClient) -> None:
    """A client from before and a new one are both served."""
    assert (await bystander.get("/")).text == "fine"
    async with edge.client() as client:
        assert (await client.get("/")).text == "fine"


@pytest.mark.parametrize("probe", HTTP2, ids=lambda probe: probe.__name__[1:])
async def test_http2_probe(
    probe: Callable[[], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection may end; others do not notice, and no error of ours is logged."""
    async with (
        running_edge(application, tmp_path) as edge,
        edge.client(http2=True) as bystander,
    ):
        assert (await bystander.get("/")).text == "fine"
        stream = await edge.connect("h2")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all, stream)
            try:
                await stream.send_all(PREFACE + probe())
                await stream.send_all(GoAwayFrame(0).serialize())
            except trio.BrokenResourceError:
                pass
            await assert_alive(edge, bystander)
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)
        await assert_alive(edge, bystander)
    assert not caplog.records


@pytest.mark.parametrize("probe", MALFORMED, ids=lambda probe: probe.__name__[1:])
async def test_malformed_http2_request_is_not_answered_200(
    probe: Callable[[], bytes], tmp_path: Path
) -> None:
    """A malformed request never reaches the application."""
    seen = []

    def remember(exchange: Exchange) -> None:
        seen.append(exchange.request)
        exchange.respond(200, [])

    async with running_edge(remember, tmp_path) as edge:
        stream = await edge.connect("h2")
        ping = PingFrame(0, opaque_data=b"after it")
        await stream.send_all(PREFACE + probe() + ping.serialize())
        await read_until(stream, b"after it")
        await trio.aclose_forcefully(stream)
    assert not seen


@pytest.mark.parametrize("name", HTTP1)
async def test_http1_probe(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused with its status, never served, and the connection closed; others go on."""
    probe, status = HTTP1[name]
    async with (
        running_edge(application, tmp_path) as edge,
        edge.client() as bystander,
    ):
        assert (await bystander.get("/")).text == "fine"
        stream = await edge.connect("http/1.1")
        await stream.send_all(probe)
        answer = await read_all(stream)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1") == 1
        assert b"connection: close" in answer
        await trio.aclose_forcefully(stream)
        await assert_alive(edge, bystander)
    assert not caplog.records


async def test_no_tls_no_service(tmp_path: Path) -> None:
    """Plain text, noise and silence instead of a handshake get nothing, and cost nobody."""
    async with running_edge(application, tmp_path) as edge:
        silent = await trio.open_tcp_stream(edge.host, edge.port)
        for noise_ in (b"GET / HTTP/1.1\r\n\r\n", bytes(300)):
            stream = await trio.open_tcp_stream(edge.host, edge.port)
            await stream.send_all(noise_)
            assert b"HTTP" not in await read_all(stream)
            await stream.aclose()
        async with edge.client() as client:
            assert (await client.get("/")).text == "fine"
        await silent.aclose()


async def test_tls_1_3_without_tickets(tmp_path: Path) -> None:
    """TLS 1.2 is refused; a connection gets no ticket that a later one could resume with."""
    import ssl  # noqa: PLC0415 - beside its use

    async with running_edge(application, tmp_path) as edge:
        context = edge.client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(verify=context) as client:
                await client.get(edge.url)
        stream = await edge.connect("http/1.1")
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await read_all(stream)
        session = stream.session
        assert session is None or not session.has_ticket
        await trio.aclose_forcefully(stream)


async def test_one_address_cannot_hold_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past its bound a connection is closed at once; when another has ended there is room again."""
    monkeypatch.setattr(limits, "connections_per_address_max", 2)
    async with running_edge(application, tmp_path) as edge:
        held = [await trio.open_tcp_stream(edge.host, edge.port) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with await trio.open_tcp_stream(edge.host, edge.port) as refused:
            assert await read_all(refused) == b""
        assert edge.listener.census.counters.connections_refused_address == 1
        for stream in held:
            await stream.aclose()
        while len(edge.listener.census):
            await trio.testing.wait_all_tasks_blocked(0.01)
        async with httpx.AsyncClient(verify=edge.client_context()) as client:
            assert (await client.get(edge.url)).status_code == 200
