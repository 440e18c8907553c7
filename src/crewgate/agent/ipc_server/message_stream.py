"""Frames over one Trio stream: requests in, answers out. It knows no message of either socket."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec
import trio

from crewgate import limits
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.attach_messages import pack, unpack
from crewgate.ipc.frames import FrameDecoder

M = TypeVar("M")
R = TypeVar("R")
_CHUNK = 64 * 2**10


class ConnectionClosedError(ServiceConnectionError):
    """The other side has closed the connection, as every process does in the end."""


class MessageStream(Generic[M]):
    """One connection; `requests` decodes the messages that its socket accepts."""

    def __init__(self, stream: trio.SocketStream, requests: msgspec.msgpack.Decoder[M]) -> None:
        self.stream = stream
        self._requests = requests
        self._decoder = FrameDecoder()
        self._received: list[M] = []

    async def receive(self) -> M | None:
        """Return the next request; None at the end.

        Raises ServiceConnectionError for an invalid request.
        """
        while not self._received:
            try:
                data = await self.stream.receive_some(_CHUNK)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._received += [unpack(self._requests, body) for body in self._decoder.feed(data)]
        return self._received.pop(0)

    async def send(self, *messages: msgspec.Struct) -> None:
        """Send in one piece, and wait for a slow reader. Raises ConnectionClosedError."""
        try:
            await self.stream.send_all(b"".join(map(pack, messages)))
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError("the other side has closed the connection") from error


def pages(
    rows: Sequence[R], size: int = limits.ipc_tree_rows_max
) -> Iterator[tuple[list[R], bool]]:
    """Split the rows of an answer into pages, at least one; yield each, and whether it is last."""
    for first in range(0, max(1, len(rows)), size):
        yield list(rows[first : first + size]), first + size >= len(rows)
