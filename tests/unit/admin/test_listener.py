"""The admin listener over real sockets: what it answers, what it refuses, and whom it ends."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import h11
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from crewgate import limits
from crewgate.admin.listener import AdminAnswer, AdminListener, Respond

asked: list[str] = []


async def respond(path: str) -> AdminAnswer:
    asked.append(path)
    return AdminAnswer(200, b"well\n")


class Client:
    """One connection, and what came over it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(
        self, path: str = "/livez", method: str = "GET", **fields: str
    ) -> tuple[int, bytes, dict[bytes, bytes]]:
        """Status, body and fields of the answer."""
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        headers = {"host": "localhost", **fields}
        head = self.http.send(
            h11.Request(method=method, target=path, headers=list(headers.items()))
        )
        end = self.http.send(h11.EndOfMessage())
        await self.send((head or b"") + (end or b""))
        return await self.answer()

    async def answer(self) -> tuple[int, bytes, dict[bytes, bytes]]:
        status, body, found = 0, b"", dict[bytes, bytes]()
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Response):
                status, found = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage), event
                return status, body, found

    async def rest(self) -> bytes:
        """All bytes until the server ends the connection."""
        return b"".join([part async for part in self.stream])


Connect = Callable[[], Awaitable[Client]]


@asynccontextmanager
async def served(answer: Respond = respond, *, is_local: bool = True) -> AsyncIterator[Connect]:
    """A listener that answers until the end; it connects clients, which end with it."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(await trio.open_tcp_stream(host, port)))
        return clients[-1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(AdminListener(listener, answer, is_local=is_local).run)
        yield connect
        for client in clients:
            await client.stream.aclose()
        nursery.cancel_scope.cancel()


async def test_requests_of_one_connection_are_answered_in_turn() -> None:
    async with served() as connect:
        client = await connect()
        asked.clear()
        for path in ("/livez", "/readyz?verbose"):
            status, body, fields = await client.ask(path)
            assert (status, body) == (200, b"well\n")
            assert fields[b"cache-control"] == b"no-store"
        assert asked == ["/livez", "/readyz"]
        status, body, fields = await client.ask(method="HEAD")
        assert (status, body, fields[b"content-length"]) == (200, b"", b"5")
        assert (await client.ask())[0] == 200


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("POST", {}, 405),
        ("OPTIONS", {}, 405),
        ("GET", {"origin": "http://localhost"}, 403),
        ("GET", {"host": "evil.example"}, 421),
        ("GET", {"host": "127.0.0.1.evil.example"}, 421),
        ("GET", {"host": "10.0.0.1:8447"}, 421),
        ("GET", {"host": "localhost:8447"}, 200),
        ("GET", {"host": "127.0.0.1"}, 200),
        ("GET", {"host": "[::1]:8447"}, 200),
    ],
)
async def test_who_may_read(method: str, fields: dict[str, str], status: int) -> None:
    """No page of a browser, whatever its name resolves to; the rest of the machine may."""
    async with served() as connect:
        asked.clear()
        found, _, answered = await (await connect()).ask(method=method, **fields)
        assert found == status
        assert (b"allow" in answered) is (status == 405)
        assert asked == (["/livez"] if status == 200 else [])


async def test_where_others_may_connect_any_host_is_good() -> None:
    async with served(is_local=False) as connect:
        assert (await (await connect()).ask(host="gw1.example"))[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 10_000, b"431"),
    ],
)
async def test_what_is_no_http_is_answered_once(sent: bytes, status: bytes) -> None:
    async with served() as connect:
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
async def test_a_body_ends_the_connection_after_the_answer(
    method: bytes, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the body is valid or not, and without a line of log, which any client could cause."""
    async with served() as connect:
        client = await connect()
        await client.send(method + b" / HTTP/1.1\r\nHost: localhost\r\n" + rest)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1
    assert not caplog.records


async def test_a_slow_head_and_an_idle_connection_end(mock_clock: MockClock) -> None:
    """Each in its time; an honest client that asks at once is not touched."""
    async with served() as connect:
        slow, idle = await connect(), await connect()
        await slow.send(b"GET / HTTP/1.1\r\n")
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(limits.admin_head_seconds + 1)
        assert await slow.rest() == b""
        assert (await idle.ask())[0] == 200
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(limits.admin_idle_seconds + 1)
        assert await idle.rest() == b""


async def test_the_longest_idle_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one that waits for a request, the new connection is closed."""
    monkeypatch.setattr(limits, "admin_connections_max", 2)
    release = trio.Event()

    async def wait(path: str) -> AdminAnswer:
        if path == "/slow":
            await release.wait()
        return await respond(path)

    async with served(wait) as connect:
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


async def test_parts_of_heads_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "admin_connections_max", 2)
    async with served() as connect:
        slow = [await connect() for _ in range(2)]
        for client in slow:
            await client.send(b"GET / HT")
        await wait_all_tasks_blocked(0.01)
        assert (await (await connect()).ask())[0] == 200
        assert await slow[0].rest() == b""


async def test_a_request_that_comes_with_the_end_of_its_place_adds_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one turn of its loop, the listener accepts a client and gets the requests of others."""
    monkeypatch.setattr(limits, "admin_connections_max", 2)
    (bound,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener = AdminListener(bound, respond, is_local=True)
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run)
            clients: list[socket.socket] = []
            for _ in range(50):
                clients.append(socket.create_connection(bound.socket.getsockname()))
                stack.callback(clients[-1].close)
                for client in clients:
                    with suppress(OSError):
                        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await wait_all_tasks_blocked(0.001)
                assert listener._open <= 2
            nursery.cancel_scope.cancel()


async def test_an_error_of_one_answer_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(path: str) -> AdminAnswer:
        if path == "/bad":
            raise ValueError("x")
        return AdminAnswer(200, b"")

    async with served(fail) as connect:
        bad = await connect()
        await bad.send(b"GET /bad HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await bad.rest() == b""
        assert (await (await connect()).ask())[0] == 200
    assert "internal error" in caplog.text
