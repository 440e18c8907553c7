"""HTTP/1.1 without TLS over real sockets: what the server answers, and which clients it ends."""

import socket
from contextlib import AbstractAsyncContextManager, ExitStack, suppress

import pytest
import trio
from plaintext_client import Connect, Run, served
from trio.testing import MockClock, wait_all_tasks_blocked

from crewgate import limits
from crewgate.server.plaintext_http1 import (
    PlaintextBounds,
    PlaintextHTTP1Server,
    PlaintextRequest,
    PlaintextResponse,
    Respond,
)

BOUNDS = PlaintextBounds(
    connections_max=64,
    head_bytes_max=8192,
    body_bytes_max=0,
    request_seconds=5.0,
    response_seconds=5.0,
    idle_seconds=120.0,
)
TWO = BOUNDS._replace(connections_max=2)
HEAD = b" / HTTP/1.1\r\nHost: localhost\r\n"

asked: list[PlaintextRequest] = []


async def respond(request: PlaintextRequest) -> PlaintextResponse:
    asked.append(request)
    return PlaintextResponse(200, b"well\n", headers=(("x-extra", "1"),))


def plaintext(
    answer: Respond = respond, bounds: PlaintextBounds = BOUNDS
) -> AbstractAsyncContextManager[Connect]:
    return served(lambda at: PlaintextHTTP1Server(at, answer, bounds, name="admin").run)


async def test_requests_of_one_connection_are_answered_in_turn() -> None:
    async with plaintext() as connect:
        client = await connect()
        asked.clear()
        for path in ("/livez", "/readyz?verbose"):
            status, body, fields = await client.ask(path, accept="text/plain")
            assert (status, body, fields[b"x-extra"]) == (200, b"well\n", b"1")
        assert [each.path for each in asked] == ["/livez", "/readyz"]
        assert asked[0].headers["accept"] == "text/plain"
        status, body, fields = await client.ask(method="HEAD")
        assert (status, body, fields[b"content-length"]) == (200, b"", b"5")
        assert (await client.ask())[0] == 200


async def test_repeated_fields_are_one_list() -> None:
    async with plaintext() as connect:
        client = await connect()
        await client.send(b"GET" + HEAD + b"Accept: a/b\r\nAccept: c/d;q=0.5\r\n\r\n")
        await client.answer()
        assert asked.pop().headers["accept"] == "a/b, c/d;q=0.5"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000, b"431"),
    ],
)
async def test_what_is_no_http_is_answered_once(sent: bytes, status: bytes) -> None:
    """The answer arrives, even if the server has not read all that the client sends."""
    async with plaintext() as connect:
        client = await connect()
        await client.send(sent)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 3\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_an_unread_body_ends_the_connection_after_the_answer(
    method: bytes, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the body is valid or not, and without a line of log, which any client could cause."""
    async with plaintext() as connect:
        client = await connect()
        await client.send(method + HEAD + rest)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1
        assert asked.pop().body is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (b"Content-Length: 4\r\n\r\nabcd", b"abcd"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", b"abcd"),
        (b"\r\n", b""),
        (b"Content-Length: 5\r\n\r\nabcde", None),
        (b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n", None),
    ],
)
async def test_a_body_is_read_up_to_the_bound(sent: bytes, body: bytes | None) -> None:
    """And the connection then serves the next request, unless part of the body is unread."""
    async with plaintext(bounds=BOUNDS._replace(body_bytes_max=4)) as connect:
        client = await connect()
        asked.clear()
        await client.send(b"POST" + HEAD + sent + b"GET" + HEAD + b"Connection: close\r\n\r\n")
        answer = await client.rest()
        assert answer.count(b"HTTP/1.1 200") == len(asked) == (1 if body is None else 2)
        assert asked[0].body == body


async def test_a_slow_request_and_an_idle_connection_end(mock_clock: MockClock) -> None:
    """Each in its time; an honest client that asks at once is not touched."""
    async with plaintext(bounds=BOUNDS._replace(body_bytes_max=4)) as connect:
        slow, torn, idle = await connect(), await connect(), await connect()
        await slow.send(b"GET / HTTP/1.1\r\n")
        await torn.send(b"POST" + HEAD + b"Content-Length: 4\r\n\r\nab")
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(BOUNDS.request_seconds + 1)
        assert await slow.rest() == b""
        assert await torn.rest() == b""
        assert (await idle.ask())[0] == 200
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(BOUNDS.idle_seconds + 1)
        assert await idle.rest() == b""


async def test_the_longest_idle_makes_room() -> None:
    """Without one that waits for its client, the new connection is closed."""
    release = trio.Event()

    async def wait(request: PlaintextRequest) -> PlaintextResponse:
        if request.path == "/slow":
            await release.wait()
        return await respond(request)

    async with plaintext(wait, TWO) as connect:
        first, second = await connect(), await connect()
        assert (await first.ask())[0] == 200
        assert (await second.ask())[0] == 200
        assert (await first.ask())[0] == 200  # so the second is idle for longer
        third = await connect()
        assert (await third.ask())[0] == 200
        assert await second.rest() == b""
        for client in (first, third):
            await client.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await wait_all_tasks_blocked(0.01)
        assert await (await connect()).rest() == b""
        release.set()
        for client in (first, third):
            assert (await client.rest()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"GET / HT", b"GET" + HEAD + b"Content-Length: 9\r\n\r\n"])
async def test_clients_that_send_part_of_a_request_keep_no_other_client_out(sent: bytes) -> None:
    """Nor do those that have their answer and hold the connection open."""
    async with plaintext(bounds=TWO) as connect:
        slow = [await connect() for _ in range(2)]
        for client in slow:
            await client.send(sent)
        await wait_all_tasks_blocked(0.01)
        assert (await (await connect()).ask())[0] == 200
        assert b"HTTP/1.1 4" not in await slow[0].rest()


async def test_clients_that_read_no_answer_keep_no_other_client_out() -> None:
    async def answer(request: PlaintextRequest) -> PlaintextResponse:
        size = 10_000_000 if request.path == "/large" else 1
        return PlaintextResponse(200, size * b"x")

    async with plaintext(answer, TWO) as connect:
        for _ in range(2):
            await (await connect()).send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await wait_all_tasks_blocked(0.01)
        for _ in range(2):
            assert (await (await connect()).ask())[0] == 200


async def test_a_client_that_keeps_its_side_open_is_ended(mock_clock: MockClock) -> None:
    """After the answer to a body that the server did not read."""
    servers: list[PlaintextHTTP1Server] = []

    def make(listener: trio.SocketListener) -> Run:
        servers.append(PlaintextHTTP1Server(listener, respond, BOUNDS, name="admin"))
        return servers[0].run

    async with served(make) as connect:
        client = await connect()
        await client.send(b"GET" + HEAD + b"Content-Length: 9\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 200")
        assert servers[0]._open == 1
        mock_clock.jump(limits.linger_seconds_max + 1)
        await wait_all_tasks_blocked(0.01)
        assert servers[0]._open == 0


async def test_a_request_that_comes_with_the_end_of_its_place_adds_no_place() -> None:
    """In one turn of its loop, the server accepts a client and gets the requests of others."""
    (bound,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = PlaintextHTTP1Server(bound, respond, TWO, name="admin")
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            clients: list[socket.socket] = []
            for _ in range(50):
                clients.append(socket.create_connection(bound.socket.getsockname()))
                stack.callback(clients[-1].close)
                for client in clients:
                    with suppress(OSError):
                        client.sendall(b"GET" + HEAD + b"\r\n")
                await wait_all_tasks_blocked(0.001)
                assert server._open <= 2
            nursery.cancel_scope.cancel()


async def test_an_error_of_one_answer_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: PlaintextRequest) -> PlaintextResponse:
        if request.path == "/bad":
            raise ValueError("x")
        return PlaintextResponse(200, b"")

    async with plaintext(fail) as connect:
        bad = await connect()
        await bad.send(b"GET /bad HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await bad.rest() == b""
        assert (await (await connect()).ask())[0] == 200
    assert "closing an admin connection after an internal error" in caplog.text
