"""What a caller of the soak sees of HTTP, whichever version: asks, answers, and torn ones.

Knows no gateway. Clients are our own because a soak must hang up in mid-body, read slowly and tell
how far it came, which stock clients hide.
"""

import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import trio

Field = tuple[bytes, bytes]
PIECE = 65_536
RECEIVE_BYTES = 131_072


class TornError(Exception):
    """The answer will never be whole; `untouched` if the server says that it began nothing."""

    def __init__(self, why: str, *, untouched: bool = False) -> None:
        super().__init__(why)
        self.untouched = untouched


class Answer(msgspec.Struct, frozen=True):
    """A whole answer; names of fields in lower case."""

    status: int
    fields: Mapping[bytes, bytes]
    body: bytes


class Ask(ABC):
    """A request under way; every method may raise TornError."""

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Send a piece of the body; quietly nothing once the server takes no more."""

    @abstractmethod
    async def end(self) -> None:
        """Say that the body is over."""

    @abstractmethod
    async def head(self) -> tuple[int, Mapping[bytes, bytes]]:
        """Wait for the head of the final answer: status and fields."""

    @abstractmethod
    async def read(self) -> bytes:
        """Wait for a piece of the answer's body; b"" at its end."""

    @abstractmethod
    async def abandon(self) -> None:
        """Hang up in the middle of whatever it is."""

    async def rest(self) -> bytes:
        """Read the body to its end."""
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def answer(self) -> Answer:
        """Wait for all of the answer."""
        status, fields = await self.head()
        return Answer(status, fields, await self.rest())


class Connection(ABC):
    """A connection to the gateway; `usable` says whether another request may be sent on it."""

    @property
    @abstractmethod
    def usable(self) -> bool:
        """Whether another request may be sent."""

    @abstractmethod
    async def ask(
        self, method: bytes, target: bytes, fields: Sequence[Field], length: int | None
    ) -> Ask:
        """Send a head; `length` is that of the body that follows, None if it is not told."""

    @abstractmethod
    async def close(self) -> None:
        """Hang up."""


class Hearing(trio.abc.Stream):
    """A TCP stream that can still be read when the server takes no more, as usual clients do.

    Then `deaf` says why, and the TLS above believes that all was sent.
    """

    def __init__(self, plain: trio.SocketStream) -> None:
        self._plain = plain
        self.deaf: str | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            if self.deaf is None:
                await self._plain.send_all(data)
        except trio.BrokenResourceError as error:
            self.deaf = str(error.__cause__ or error)

    async def wait_send_all_might_not_block(self) -> None:
        if self.deaf is None:
            await self._plain.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._plain.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._plain.aclose()


class Trust:
    """Where the gateway is, and the TLS that its clients speak."""

    def __init__(self, authority: Path, port: int) -> None:
        self.port = port
        self.name = b"localhost:%d" % port
        self._contexts = {
            protocol: ssl.create_default_context(cafile=str(authority))
            for protocol in ("http/1.1", "h2")
        }
        for protocol, context in self._contexts.items():
            context.set_alpn_protocols([protocol])

    async def connect(self, protocol: str) -> trio.SSLStream[Hearing]:
        """Connect and shake hands; TornError if that fails."""
        try:
            plain = await trio.open_tcp_stream("127.0.0.1", self.port)
        except OSError as error:
            raise TornError(f"no connection: {error}") from error
        # A slow reader is to be felt behind the kernel's buffers too.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        stream = trio.SSLStream(
            Hearing(plain),
            self._contexts[protocol],
            server_hostname="localhost",
            https_compatible=True,
        )
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            raise TornError(f"no handshake: {error.__cause__ or error}") from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream
