"""A tool's server that says exactly what a test tells it to, byte for byte; and its callers' fakes.

Runs on a real loopback socket, because what is tested is what the kernel took.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from crewgate.config import UpstreamOrigin

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
    """Read one request whose body, if any, has a Content-Length; b"" at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
            while len(body) < length:
                body += await stream.receive_some()
    return head + b"\r\n\r\n" + body
