"""Frames over one Trio stream: asks in, answers out.

Knows neither door's messages nor what they do.
"""

from typing import Generic, TypeVar

import msgspec
import trio

from crewgate.errors import LinkError
from crewgate.ipc.attach_messages import pack, unpack
from crewgate.ipc.frames import FrameDecoder

M = TypeVar("M")
_CHUNK = 64 * 2**10


class ConnectionClosedError(LinkError):
    """The other side has hung up, as everybody does in the end."""


class MessageStream(Generic[M]):
    """One connection; `asks` are what its door understands."""

    def __init__(self, stream: trio.SocketStream, asks: msgspec.msgpack.Decoder[M]) -> None:
        self.stream = stream
        self._asks = asks
        self._decoder = FrameDecoder()
        self._received: list[M] = []

    async def receive(self) -> M | None:
        """The next ask; None when the other side has ended. LinkError for garbage."""
        while not self._received:
            try:
                data = await self.stream.receive_some(_CHUNK)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._received += [unpack(self._asks, body) for body in self._decoder.feed(data)]
        return self._received.pop(0)

    async def send(self, *messages: msgspec.Struct) -> None:
        """Send in one piece; waits for a slow reader. ConnectionClosedError."""
        try:
            await self.stream.send_all(b"".join(map(pack, messages)))
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError("the other side has ended") from error
