"""Calls to a scripted tool server: reuse, streaming, and exactly whether a byte got there."""

import socket
import time

import pytest
import trio
import trio.testing
from scripted_server import read_request, scripted
from waiting_caller import Asked, running_pool

from crewgate import limits
from crewgate.config import UpstreamOrigin
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.interfaces import RequestHead
from crewgate.upstream.pool import UpstreamPool

GET = RequestHead(b"GET", b"/", 0, b"x-a: b\r\n")
POST = RequestHead(b"POST", b"/p?q", None)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_keep_alive() -> None:
    """Calls one after the other share a connection; the request is what was asked for."""
    seen = []

    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            seen.append((number, request))
            await stream.send_all(ANSWER)

    async with scripted(script) as origin, running_pool(origin) as pool:
        for _ in range(3):
            assert await Asked(GET).start(pool).whole() == b"ok"
        assert await Asked(POST, b"abc").start(pool).whole() == b"ok"
    assert {number for number, _ in seen} == {0}
    authority = origin.authority.encode()
    assert seen[0][1] == b"GET / HTTP/1.1\r\nhost: " + authority + b"\r\nx-a: b\r\n\r\n"
    assert seen[3][1] == (
        b"POST /p?q HTTP/1.1\r\nhost: " + authority + b"\r\ncontent-length: 3\r\n\r\nabc"
    )


async def test_concurrent_calls_have_connections_of_their_own() -> None:
    """Two calls at once use two connections, and the one that ended last is used next."""
    both = trio.Event()
    started = []

    async def script(stream: trio.SocketStream, number: int) -> None:
        while await read_request(stream):
            started.append(number)
            if len(started) == 2:
                both.set()
            await both.wait()
            await stream.send_all(ANSWER)

    async with scripted(script) as origin, running_pool(origin) as pool:
        for call in [Asked(GET).start(pool) for _ in range(2)]:
            assert await call.whole() == b"ok"
    assert sorted(started) == [0, 1]


async def test_streamed_body_and_answer() -> None:
    """A body of unknown length is chunked, and its answer may begin before it ends."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        data = b""
        while b"0\r\n" not in data:
            data += await stream.receive_some()
            if b"early" not in data and b"one" in data:
                data += b"early"
                await stream.send_all(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
                )
        assert b"transfer-encoding: chunked" in data
        assert b"3\r\ntwo\r\n" in data
        assert data.endswith(b"0\r\nx-t: 1\r\n\r\n")
        await stream.send_all(b"3\r\nend\r\n0\r\n\r\n")

    async with scripted(script) as origin, running_pool(origin) as pool:
        call = Asked(POST, is_open=True).start(pool)
        await call.send(b"one")
        assert await call.read() == b"one"
        await call.send(b"two")
        call.end([(b"x-t", b"1")])
        assert await call.read() == b"end"
        assert await call.read() == b""
        call.close()


async def test_declared_length_is_kept() -> None:
    """A streamed body whose length the client declared goes with that length."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        request = await read_request(stream)
        assert b"content-length: 6\r\n" in request
        assert request.endswith(b"onetwo")
        await stream.send_all(ANSWER)

    async with scripted(script) as origin, running_pool(origin) as pool:
        call = Asked(RequestHead(b"POST", b"/", 6), is_open=True).start(pool)
        await call.send(b"one")
        await call.send(b"two")
        call.end()
        assert await call.whole() == b"ok"


async def test_nobody_listens() -> None:
    """When the connection is refused nothing was touched."""
    async with scripted(read_request) as origin:  # type: ignore[arg-type]
        port = origin.port
    async with running_pool(UpstreamOrigin("http", "127.0.0.1", port)) as pool:
        call = Asked(GET).start(pool)
        with pytest.raises(UpstreamError, match="Connection refused"):
            await call.begin()
        assert not call.carriers


async def test_unknown_name() -> None:
    """A host without an address is an error that says so, and nothing was touched."""
    async with running_pool(UpstreamOrigin("http", "nobody.invalid", 80)) as pool:
        call = Asked(GET).start(pool)
        with pytest.raises(UpstreamError, match=r"nobody\.invalid"):
            await call.begin()
        assert not call.carriers


async def test_stale_connection_is_replaced() -> None:
    """A kept connection that its server has closed is noticed, and no call is lost to it."""
    closed = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(ANSWER)
        if number == 0:
            await stream.aclose()
            closed.set()
        else:
            await read_request(stream)

    async with scripted(script) as origin, running_pool(origin) as pool:
        assert await Asked(GET).start(pool).whole() == b"ok"
        await closed.wait()
        assert await Asked(POST, b"x").start(pool).whole() == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"SMTP says hello\r\n",
    ],
)
async def test_server_that_dies(answer: bytes) -> None:
    """A server that takes the request and dies, or talks nonsense: touched, and an error."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        if answer:
            await stream.send_all(answer)

    async with scripted(script) as origin, running_pool(origin) as pool:
        call = Asked(GET).start(pool)
        with pytest.raises(UpstreamError):
            await call.whole()
        assert call.touched


async def test_call_that_is_cancelled_closes_its_connection() -> None:
    """A connection with half an answer is never given to another call."""
    ended = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        if number == 0:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            assert await stream.receive_some() == b""
            ended.set()
        else:
            await stream.send_all(ANSWER)

    async with scripted(script) as origin, running_pool(origin) as pool:
        call = Asked(GET).start(pool)
        assert await call.read() == b"abc"
        call.close()
        await ended.wait()
        assert await Asked(GET).start(pool).whole() == b"ok"


async def test_silent_server_is_given_up() -> None:
    """A server that says nothing is broken off by the sweeper, and the call says why."""
    asked = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        asked.set()
        await trio.sleep_forever()

    async with scripted(script) as origin, running_pool(origin) as pool:
        call = Asked(GET).start(pool)
        await asked.wait()
        start = pool.now
        pool.sweep(start + limits.upstream_first_byte_seconds_max - 1)
        assert call.error is None
        pool.sweep(start + limits.upstream_first_byte_seconds_max + 1)
        with pytest.raises(UpstreamTimeoutError):
            await call.status()


async def test_unused_connections_are_closed() -> None:
    """A kept connection is closed before servers of the field would close it."""
    ended = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(ANSWER)
        assert await stream.receive_some() == b""
        ended.set()

    async with scripted(script) as origin, running_pool(origin) as pool:
        await Asked(GET).start(pool).whole()
        pool.sweep(pool.now + limits.upstream_keep_seconds + 1)
        await ended.wait()


async def test_early_answer_to_a_long_body() -> None:
    """A server that answers and closes without reading the body: its answer comes through."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await stream.receive_some(1)
        await stream.send_all(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await stream.send_eof()
        await trio.sleep_forever()

    async with scripted(script) as origin, running_pool(origin) as pool:
        call = Asked(POST, is_open=True).start(pool)
        await call.begin()
        while call.carrier.send_body(bytes(60_000)):
            pass
        assert await call.status() == 413
        call.close()


async def test_first_look_of_the_sweeper_breaks_nothing_off() -> None:
    """A call that began before the sweeper's first look has its whole time."""
    go = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await go.wait()
        await stream.send_all(ANSWER)

    async with scripted(script) as origin, running_pool(origin) as pool:
        call = Asked(GET).start(pool)
        await call.begin()
        pool.sweep(time.monotonic())
        go.set()
        assert await call.status() == 200
        call.close()


async def test_a_body_behind_the_answer_to_head_is_nobodys_answer() -> None:
    """A server that sends one all the same cannot have the next call take it for its own."""
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            if request.startswith(b"HEAD"):
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                await stream.send_all(head % len(forged))
                await read_request(stream)
                await stream.send_all(forged)
            else:
                await stream.send_all(ANSWER)

    async with scripted(script) as origin, running_pool(origin) as pool:
        assert await Asked(RequestHead(b"HEAD", b"/", 0)).start(pool).whole() == b""
        assert await Asked(GET).start(pool).whole() == b"ok"


@pytest.mark.parametrize("pause", [None, 0.0, 0.02], ids=["one packet", "two packets", "later"])
@pytest.mark.parametrize(
    "head",
    [
        b"204 No Content\r\n\r\n",
        b"204 No Content\r\nContent-Length: 44\r\n\r\n",
        b"304 Not Modified\r\n\r\n",
        b"200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_body_behind_an_answer_without_one_is_nobodys_answer(
    head: bytes, pause: float | None
) -> None:
    """Four connections, eight callers at once: each good call has the answer that it asked for."""
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            target = request.split(b" ")[1]
            if target == b"/sloppy":
                await stream.send_all(b"HTTP/1.1 " + head + (forged if pause is None else b""))
                if pause is not None:
                    await trio.sleep(pause)
                    await stream.send_all(forged)
            else:
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                await stream.send_all(answer % (len(target), target))

    async def ask(pool: UpstreamPool, caller: int) -> None:
        for number in range(20):
            if (number + caller) % 5 == 0:
                assert await Asked(RequestHead(b"GET", b"/sloppy", 0)).start(pool).whole() == b""
            else:
                target = b"/%d/%d" % (caller, number)
                assert await Asked(RequestHead(b"GET", target, 0)).start(pool).whole() == target

    async with (
        scripted(script) as origin,
        running_pool(origin, connections=4) as pool,
        trio.open_nursery() as nursery,
    ):
        for caller in range(8):
            nursery.start_soon(ask, pool, caller)


async def test_waiting_calls_are_bounded_and_end() -> None:
    """If no connection opens, the pool opens few, and fails each of 1,000 waiting calls once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = UpstreamOrigin("https", "127.0.0.1", silent.getsockname()[1])
        async with running_pool(origin, connections=4, retry=False) as pool:
            calls = [Asked(GET).start(pool) for _ in range(1000)]
            await trio.testing.wait_all_tasks_blocked()
            (host_pool,) = pool.by_host.values()
            assert (len(host_pool.opening), len(host_pool.waiting)) == (4, 1000)
            pool.sweep(pool.now + limits.upstream_connect_seconds_max + 1)
            assert all(isinstance(call.error, UpstreamTimeoutError) for call in calls)
            assert sum("no connection within" in str(call.error) for call in calls) == 4
            assert len(host_pool.opening) == 4
            assert next(iter(pool.hosts)).outstanding == 0
        assert not host_pool.opening
