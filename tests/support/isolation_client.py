"""A client of `isolation`: what it asks for, and how it leaves."""

import ssl
from typing import NamedTuple

import h11
import trio
from tls_listener import Edge

LEAVE_SECONDS = 0.03  # after a call whose answer nobody waits for
BROKEN = 0  # for a status: the answer was cut


class Ask(NamedTuple):
    """A request with `body` bytes, and `head` more in a field of its own.

    Its client `leaves` without an answer; `then` the same client makes another.
    """

    method: str
    target: str
    body: int = 0
    head: int = 0
    leaves: bool = False
    then: "Ask | None" = None


class Client:
    """One connection after the other to a gateway; one call at a time."""

    def __init__(self, edge: Edge, context: ssl.SSLContext, token: str) -> None:
        self._edge = edge
        self._context = context
        self._token = token
        self._stream: trio.SSLStream[trio.SocketStream] | None = None
        self._wire = h11.Connection(h11.CLIENT)

    async def connect(self) -> trio.SSLStream[trio.SocketStream]:
        """Have a connection for the next call."""
        return self._stream or await self._open()

    async def ask(self, ask: Ask) -> tuple[int, bytes]:
        """Status and body of an answer; BROKEN if it was cut."""
        stream = await self.connect()
        wire = self._wire
        request = self._request(ask)
        status, body = BROKEN, b""
        try:
            await stream.send_all(request)
            if ask.leaves:
                await trio.sleep(LEAVE_SECONDS)
                await self.close()
                return status, body
            while True:
                event = wire.next_event()
                if event is h11.NEED_DATA:
                    wire.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    break
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            status = BROKEN
        if wire.our_state is h11.DONE and wire.their_state is h11.DONE:
            wire.start_next_cycle()
        else:
            await self.close()
        return status, body

    def _request(self, ask: Ask) -> bytes:
        fields = [("Host", "a"), ("Authorization", f"Bearer {self._token}")]
        if ask.body:
            fields.append(("Content-Length", str(ask.body)))
        if ask.head:
            fields.append(("X-Long", "a" * ask.head))
        head = h11.Request(method=ask.method, target=ask.target, headers=fields)
        events = [head, *([h11.Data(bytes(ask.body))] if ask.body else []), h11.EndOfMessage()]
        return b"".join([self._wire.send(event) or b"" for event in events])

    async def close(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _open(self) -> trio.SSLStream[trio.SocketStream]:
        edge = self._edge
        stream = await trio.open_tcp_stream(edge.host, edge.port)
        self._stream = trio.SSLStream(
            stream, self._context, server_hostname=edge.host, https_compatible=True
        )
        await self._stream.do_handshake()
        self._wire = h11.Connection(h11.CLIENT)
        return self._stream
