"""The gateway's own requests over real sockets: whole responses, bounds, and retries."""

import pytest
import trio
from gateway_world import FakePermit, grant_of
from scripted_server import read_request, scripted
from waiting_caller import running_pool

from crewgate.errors import UpstreamError
from crewgate.upstream.buffered_request import OwnRequest, send

REQUEST = OwnRequest(b"POST", b"/mcp", ((b"accept", b"a/b"), (b"x-key", b"hidden")), b"{}")
PERMIT = FakePermit(grant_of(), 0)


async def test_a_request_has_its_fields_and_gets_the_whole_response() -> None:
    """Also in pieces; the connection is kept for the next one. A repr shows no secret."""
    seen: list[tuple[int, bytes]] = []

    async def script(stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            seen.append((number, request))
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\nx-a: b\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            await stream.send_all(b"3\r\none\r\n")
            await stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")

    async with scripted(script) as origin, running_pool(origin) as pool:
        for _ in range(2):
            found = await send(pool, PERMIT, REQUEST, body_bytes_max=6)  # type: ignore[arg-type]
            assert (found.status, found.body) == (200, b"onetwo")
            assert (b"x-a", b"b") in found.headers
    assert [number for number, _ in seen] == [0, 0]
    assert seen[0][1].startswith(b"POST /mcp HTTP/1.1\r\nhost: ")
    assert b"accept: a/b\r\nx-key: hidden\r\ncontent-length: 2\r\n\r\n{}" in seen[0][1]
    assert "hidden" not in repr(REQUEST)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nonetwo3", "longer than 6 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\none", "connection"),
        (b"no HTTP\r\n\r\n", "HTTP"),
    ],
)
async def test_a_response_that_is_not_whole_is_an_error(answer: bytes, why: str) -> None:
    """Too long, cut short, or none at all."""

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(answer)
        await stream.aclose()

    async with scripted(script) as origin, running_pool(origin) as pool:
        with pytest.raises(UpstreamError, match=why):
            await send(pool, PERMIT, REQUEST, body_bytes_max=6)  # type: ignore[arg-type]


async def test_a_deadline_ends_the_request_at_the_server() -> None:
    """Nothing is left of it; the next request has a connection of its own."""
    closed = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        if number:
            await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif not await stream.receive_some():
            closed.set()

    async with scripted(script) as origin, running_pool(origin) as pool:
        with trio.move_on_after(0.05) as scope:
            await send(pool, PERMIT, REQUEST, body_bytes_max=6)  # type: ignore[arg-type]
        assert scope.cancelled_caught
        await closed.wait()
        found = await send(pool, PERMIT, REQUEST, body_bytes_max=6)  # type: ignore[arg-type]
        assert (found.status, found.body) == (204, b"")


async def test_a_response_for_which_there_is_no_room_is_an_error() -> None:
    """Each piece is counted as it arrives."""
    taken: list[int] = []

    def take(size: int) -> bool:
        taken.append(size)
        return sum(taken) <= 3

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nonetwo")
        await trio.sleep_forever()

    async with scripted(script) as origin, running_pool(origin) as pool:
        with pytest.raises(UpstreamError, match="holds back too many"):
            await send(pool, PERMIT, REQUEST, body_bytes_max=6, take=take)  # type: ignore[arg-type]
    assert sum(taken) > 3
