"""HTTP/1.1 of a tool's server of the soak: h11, which is strict about what the gateway sends."""

import socket
import struct
from collections.abc import Awaitable, Callable, Sequence

import h11
import trio
from soak_request import Field, GoneError, Request

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class HTTP1Request(Request):
    """One request of a connection; moods that break things write to `stream` themselves."""

    def __init__(self, stream: Stream, head: h11.Request, wire: h11.Connection, log: int) -> None:
        super().__init__(head.target, head.headers, log)
        self.stream = stream
        self._wire = wire

    async def read(self) -> bytes:
        event = await next_event(self.stream, self._wire)
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return b""
        raise GoneError

    async def start(self, status: int, fields: Sequence[Field]) -> None:
        head = h11.Response(status_code=status, headers=[*fields, *self.names()])
        await self._send(head)

    async def piece(self, data: bytes, *, last: bool = False) -> None:
        await self._send(h11.Data(data=data), *([h11.EndOfMessage()] if last else []))

    async def reset(self) -> None:
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()

    async def _send(self, *events: h11.Event) -> None:
        await self.stream.send_all(b"".join(self._wire.send(event) or b"" for event in events))


async def next_event(stream: Stream, wire: h11.Connection) -> object:
    """Wait for the next thing that the gateway sends."""
    while (event := wire.next_event()) is h11.NEED_DATA:
        wire.receive_data(bytes(await stream.receive_some(65_536)))
    return event


Behave = Callable[[Request], Awaitable[None]]


async def serve_http1(stream: Stream, log: int, behave: Behave) -> None:
    """One connection, until a mood or the gateway ends it."""
    wire = h11.Connection(h11.SERVER)
    try:
        while isinstance(head := await next_event(stream, wire), h11.Request):
            await behave(HTTP1Request(stream, head, wire, log))
            if wire.our_state is not h11.DONE or wire.their_state is not h11.DONE:
                return
            wire.start_next_cycle()
    except (h11.ProtocolError, GoneError):
        return
