"""A connection from accept to close without a Trio task: each way to end it, and what must wait."""

import errno
import resource
import socket
from collections.abc import Coroutine
from pathlib import Path

import pytest
import trio
from tls_listener import Edge, read_all, read_until, running_edge, write_certificate

from crewgate import limits
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.runtime.listening import listen
from crewgate.server.connection_authorizer import Admission, ClosableConnection
from crewgate.server.exchange import Exchange
from crewgate.server.listener import Listener
from crewgate.server.request import ClientInfo
from crewgate.server.tls import server_context

COUNT = 8
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def _answer(exchange: Exchange) -> None:
    exchange.respond(200, (), b"fine")


async def _until_empty(edge: Edge) -> None:
    with trio.fail_after(60):
        while edge.listener.census:
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_open_connections_have_no_task(tmp_path: Path) -> None:
    """Silent ones, and ones that have had an answer, add no task to the loop."""
    async with running_edge(_answer, tmp_path) as edge:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        silent = [await trio.open_tcp_stream(edge.host, edge.port) for _ in range(COUNT)]
        streams = [await edge.connect("http/1.1") for _ in range(COUNT)]
        for stream in streams:
            await stream.send_all(GET)
            assert b"fine" in await read_until(stream, b"fine")
        assert len(edge.listener.connections) == 2 * COUNT
        assert trio.lowlevel.current_statistics().tasks_living == before
        for stream in [*silent, *streams]:
            await trio.aclose_forcefully(stream)
        await _until_empty(edge)


async def test_a_request_may_end_its_own_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It does so inside a read of that connection. The close waits for the end of the read."""
    ended: list[str] = []

    def application(exchange: Exchange) -> Coroutine[None, None, None] | None:
        (connection,) = edge.listener.connections
        connection.abort()
        if exchange.request.path == b"/task":
            return late()
        exchange.respond(200, ())
        return None

    async def late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("task")

    async with running_edge(application, tmp_path) as edge:
        for protocol in ("http/1.1", "h2"):
            for path in ("/", "/task"):
                async with edge.client(http1=protocol != "h2", http2=protocol == "h2") as client:
                    with pytest.raises(Exception, match=r"disconnected|closed|terminated|EOF"):
                        await client.get(path)
                await _until_empty(edge)
    assert ended == ["task"] * 2
    assert "internal error" not in caplog.text


async def test_tasks_end_before_the_close(tmp_path: Path) -> None:
    """The client leaves. One request has yet to clean up, and an answered one begins late work."""
    begun, go_on = trio.Event(), trio.Event()
    answered: list[Exchange] = []

    def application(exchange: Exchange) -> Coroutine[None, None, None] | None:
        if exchange.request.path == b"/hold":
            return hold()
        answered.append(exchange)
        return _answer(exchange)

    async def hold() -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await go_on.wait()

    async with running_edge(application, tmp_path) as edge:
        async with edge.client(http2=True) as client, trio.open_nursery() as nursery:
            await client.get("/")
            nursery.start_soon(client.get, "/hold")
            await begun.wait()
            (connection,) = edge.listener.connections
            nursery.cancel_scope.cancel()
        with trio.fail_after(60):
            while not connection.is_stopped:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.01)
        assert len(edge.listener.census) == 1
        assert connection.sock.fileno() >= 0
        answered[0].proceed(trio.sleep_forever)
        go_on.set()
        await _until_empty(edge)
        assert connection.sock.fileno() < 0


async def test_a_client_that_does_not_close_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the last answer and the end, and stays. The sweep ends the wait for it."""
    monkeypatch.setattr(limits, "linger_seconds_max", 0.1)
    monkeypatch.setattr(limits, "sweep_seconds", 0.05)
    async with running_edge(_answer, tmp_path) as edge:
        stream = await edge.connect("http/1.1")
        await stream.send_all(LAST_GET)
        assert (await read_all(stream)).endswith(b"fine")
        await _until_empty(edge)
        assert not edge.refusals
        await trio.aclose_forcefully(stream)


class _SlowAuthorizer:
    """It answers after a test has set `go_on`, and counts the connections that have ended."""

    def __init__(self) -> None:
        self.asked, self.go_on = trio.Event(), trio.Event()
        self.left = 0

    def refused(self, peer: ClientInfo, reason: object) -> None:
        raise AssertionError

    def admit(self, peer: ClientInfo, connection: ClosableConnection) -> Admission:
        async def wait() -> ClientInfo:
            self.asked.set()
            await self.go_on.wait()
            return peer

        return wait()

    def leave(self, connection: ClosableConnection) -> None:
        self.left += 1


@pytest.mark.parametrize("is_slow", [False, True])
async def test_an_admission_that_waits(
    is_slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte is read before it. It counts against the time of the handshake."""
    async with running_edge(_answer, tmp_path) as edge:
        edge.listener.authorizer = authorizer = _SlowAuthorizer()
        if is_slow:
            monkeypatch.setattr(limits, "sweep_seconds", 0.05)
            monkeypatch.setattr(limits, "handshake_seconds_max", 0.5)
        stream = await edge.connect("http/1.1")
        await stream.send_all(GET)
        if not is_slow:
            await authorizer.asked.wait()
            assert len(edge.listener.handshaking) == 1
            authorizer.go_on.set()
            assert b"fine" in await read_until(stream, b"fine")
            assert not edge.listener.handshaking
        else:
            assert await read_all(stream) == b""
            assert edge.refusals == {"handshakes_slow": 1}
        await trio.aclose_forcefully(stream)
        await _until_empty(edge)
        assert authorizer.left == 1


async def test_no_descriptor_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The listener says so and waits. Once there are descriptors, it serves who has waited."""
    async with running_edge(_answer, tmp_path) as edge:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        waiting = [socket.create_connection((edge.host, edge.port)) for _ in range(COUNT)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (waiting[-1].fileno() + 1, hard))
        try:
            with trio.fail_after(60):
                while edge.listener.exhausted_at < 0:  # noqa: ASYNC110 - nothing tells of it
                    await trio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "cannot accept" in caplog.text
        with trio.fail_after(60):
            while len(edge.listener.connections) < COUNT:  # noqa: ASYNC110
                await trio.sleep(0.01)
        for sock in waiting:
            sock.close()
        await _until_empty(edge)


async def test_a_broken_listening_socket_ends_the_listener(tmp_path: Path) -> None:
    """A listener that cannot accept must not go on in silence; its process restarts."""
    sock = listen("127.0.0.1", 0)
    poller = SocketPoller()
    context = server_context(*write_certificate(tmp_path))
    listener = Listener(sock, context, _answer, poller)
    broken = pytest.RaisesExc(OSError, check=lambda error: error.errno == errno.EINVAL)
    with trio.fail_after(60), pytest.RaisesGroup(broken, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            nursery.start_soon(listener.run)
            await trio.testing.wait_all_tasks_blocked()
            sock.shutdown(socket.SHUT_RDWR)
    poller.close()
