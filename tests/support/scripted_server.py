"""A tool's server that says exactly what a test tells it to, byte for byte; and its callers' fakes.

Runs on a real loopback socket, because what is tested is what the kernel took.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from crewgate.config import UpstreamOrigin

CHUNKED = b"\r\ntransfer-encoding: chunked"
LAST_CHUNK = re.compile(rb"\r\n0\r\n(?:[^\r\n]+\r\n)*\r\n\Z")  # and trailers
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
Script = Callable[[trio.SocketStream, int], Awaitable[None]]


class FakePermit:
    """Counts how it was ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []


@asynccontextmanager
async def scripted(
    script: Script, *, port: int = 0, room: int | None = None
) -> AsyncIterator[UpstreamOrigin]:
    """Run `script(stream, number of the connection)` for each connection.

    The kernel keeps about `room` bytes that the script has not read.
    """
    numbers = iter(range(10**6))

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await script(stream, next(numbers))

    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_tcp, serve, port, host="127.0.0.1")
        listeners = await nursery.start(serving)
        if room is not None:
            listeners[0].socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, room)
        yield UpstreamOrigin("http", "127.0.0.1", listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.abc.ReceiveStream) -> bytes:
    """Read one request with its whole body, chunked or of a Content-Length.

    Return b"" if the stream ends first.
    """
    data = b""
    while not _is_whole(data):
        piece = await stream.receive_some()
        if not piece:
            return b""
        data += piece
    return data


def _is_whole(data: bytes) -> bool:
    """Whether a request ends with this data, or before its end."""
    head, has_end, body = data.partition(b"\r\n\r\n")
    if not has_end:
        return False
    if CHUNKED in head.lower():
        return LAST_CHUNK.search(b"\r\n" + body) is not None
    length = LENGTH.search(head)
    return length is None or len(body) >= int(length[1])
