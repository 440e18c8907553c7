"""Calls to a scripted tool server: reuse, streaming, and exactly whether a byte got there."""

import time

import pytest
import trio
from scripted import Body, FakePermit, read_request, scripted

from crewgate import limits
from crewgate.config import Origin
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream import Call, Head, Pool

GET = Head(b"GET", b"/", [(b"x-a", b"b")], 0)
POST = Head(b"POST", b"/p?q", [], None)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def _whole(call: Call, body: Body | None = None) -> bytes:
    try:
        await call.begin(body or Body())
        await call.receive_head()
        data = b""
        while piece := await call.read():
            data += piece
        return data
    finally:
        call.close()


async def test_keep_alive() -> None:
    """Calls one after the other share a connection; the request is what was asked for."""
    seen = []

    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            seen.append((number, request))
            await stream.send_all(ANSWER)

    async with scripted(script) as origin:
        pool = Pool(origin)
        for _ in range(3):
            assert await _whole(pool.call(FakePermit(), GET)) == b"ok"
        assert await _whole(pool.call(FakePermit(), POST), Body(b"abc")) == b"ok"
        pool.close()
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

    async with scripted(script) as origin:
        pool = Pool(origin)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(_whole, pool.call(FakePermit(), GET))
        assert sorted(started) == [0, 1]
        pool.close()


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

    async with scripted(script) as origin:
        pool = Pool(origin)
        call = pool.call(FakePermit(), POST)
        first_arrived = trio.Event()

        class Slow(Body):
            async def read(self) -> bytes:
                if len(self.pieces) == 1:
                    await first_arrived.wait()
                return await super().read()

        body = Slow(b"one", b"two", complete=False, trailers=[(b"x-t", b"1")])
        await call.begin(body)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.send_body, body)
            await call.receive_head()
            assert await call.read() == b"one"
            first_arrived.set()
            assert await call.read() == b"end"
            assert await call.read() == b""
        call.close()
        pool.close()


async def test_declared_length_is_kept() -> None:
    """A streamed body whose length the client declared goes with that length."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        request = await read_request(stream)
        assert b"content-length: 6\r\n" in request
        assert request.endswith(b"onetwo")
        await stream.send_all(ANSWER)

    async with scripted(script) as origin:
        pool = Pool(origin)
        call = pool.call(FakePermit(), Head(b"POST", b"/", [], 6))
        body = Body(b"one", b"two", complete=False)
        await call.begin(body)
        await call.send_body(body)
        await call.receive_head()
        assert await call.read() == b"ok"
        call.close()
        pool.close()


async def test_nobody_listens() -> None:
    """When the connection is refused nothing was touched."""
    async with scripted(read_request) as origin:  # type: ignore[arg-type]
        port = origin.port
    call = Pool(Origin("http", "127.0.0.1", port)).call(FakePermit(), GET)
    with pytest.raises(UpstreamError, match="Connection refused"):
        await call.begin(Body())
    assert not call.touched
    call.close()


async def test_unknown_name() -> None:
    """A host without an address is an error that says so, and nothing was touched."""
    call = Pool(Origin("http", "nobody.invalid", 80)).call(FakePermit(), GET)
    with pytest.raises(UpstreamError, match=r"nobody\.invalid"):
        await call.begin(Body())
    assert not call.touched


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

    async with scripted(script) as origin:
        pool = Pool(origin)
        assert await _whole(pool.call(FakePermit(), GET)) == b"ok"
        await closed.wait()
        assert await _whole(pool.call(FakePermit(), POST), Body(b"x")) == b"ok"
        pool.close()


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

    async with scripted(script) as origin:
        call = Pool(origin).call(FakePermit(), GET)
        with pytest.raises(UpstreamError):
            await _whole(call)
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

    async with scripted(script) as origin:
        pool = Pool(origin)
        call = pool.call(FakePermit(), GET)
        await call.begin(Body())
        await call.receive_head()
        assert await call.read() == b"abc"
        call.close()
        await ended.wait()
        assert await _whole(pool.call(FakePermit(), GET)) == b"ok"
        pool.close()


async def test_silent_server_is_given_up() -> None:
    """A server that says nothing is broken off by the sweeper, and the call says why."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await trio.sleep_forever()

    async with scripted(script) as origin:
        pool = Pool(origin)
        call = pool.call(FakePermit(), GET)
        await call.begin(Body())
        start = pool.now
        pool.sweep(start + limits.upstream_first_byte_seconds_max - 1)
        async with trio.open_nursery() as nursery:

            async def expect() -> None:
                with pytest.raises(UpstreamTimeoutError):
                    await call.receive_head()

            nursery.start_soon(expect)
            await trio.testing.wait_all_tasks_blocked()
            pool.sweep(start + limits.upstream_first_byte_seconds_max + 1)
        call.close()


async def test_unused_connections_are_closed() -> None:
    """A kept connection is closed before servers of the field would close it."""
    ended = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(ANSWER)
        assert await stream.receive_some() == b""
        ended.set()

    async with scripted(script) as origin:
        pool = Pool(origin)
        await _whole(pool.call(FakePermit(), GET))
        pool.sweep(pool.now + limits.upstream_keep_seconds + 1)
        await ended.wait()


async def test_early_answer_to_a_long_body() -> None:
    """A server that answers and closes without reading the body: its answer comes through."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await stream.receive_some(1)
        await stream.send_all(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await stream.send_eof()
        await trio.sleep_forever()

    async with scripted(script) as origin:
        call = Pool(origin).call(FakePermit(), POST)
        body = Body(*[bytes(60_000)] * 100, complete=False)
        await call.begin(body)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.send_body, body)
            await call.receive_head()
            assert call.status == 413
            nursery.cancel_scope.cancel()
        call.close()


async def test_first_look_of_the_sweeper_breaks_nothing_off() -> None:
    """A call that began before the sweeper's first look has its whole time."""
    go = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await go.wait()
        await stream.send_all(ANSWER)

    async with scripted(script) as origin:
        pool = Pool(origin)
        call = pool.call(FakePermit(), GET)
        await call.begin(Body())
        pool.sweep(time.monotonic())
        go.set()
        await call.receive_head()
        assert call.status == 200
        call.close()
        pool.close()
