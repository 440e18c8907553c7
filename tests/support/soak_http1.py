"""HTTP/1.1 as a soak's caller speaks it: h11 on a TLS stream, one request at a time."""

from collections.abc import Mapping, Sequence

import h11
import trio
from soak_http import PIECE, Ask, Connection, Field, Hearing, TornError, Trust

BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


class HTTP1(Connection):
    """One connection."""

    def __init__(self, stream: trio.SSLStream[Hearing], authority: bytes) -> None:
        self.stream = stream
        self.wire = h11.Connection(h11.CLIENT)
        self.kept = False  # it has carried a request before, and may be closed at any time
        self._authority = authority

    @classmethod
    async def open(cls, trust: Trust) -> "HTTP1":
        """Connect."""
        return cls(await trust.connect("http/1.1"), trust.name)

    @property
    def usable(self) -> bool:
        is_idle = self.wire.our_state is h11.IDLE and self.wire.their_state is h11.IDLE
        return is_idle and self.deaf is None

    @property
    def deaf(self) -> str | None:
        """Why the server takes no more of a request; None while it does."""
        return self.stream.transport_stream.deaf

    async def ask(
        self, method: bytes, target: bytes, fields: Sequence[Field], length: int | None
    ) -> Ask:
        framing = (
            (b"transfer-encoding", b"chunked")
            if length is None
            else (b"content-length", b"%d" % length)
        )
        headers = [(b"host", self._authority), *fields]
        if method not in {b"GET", b"HEAD"}:
            headers.append(framing)
        if not self.usable:
            raise TornError("it was closed after the last answer", untouched=True)
        ask = HTTP1Ask(self)
        await ask.push(h11.Request(method=method, target=target, headers=headers))
        return ask

    async def close(self) -> None:
        if self.wire.our_state is not h11.CLOSED:
            self.wire.send_failed()
        await trio.aclose_forcefully(self.stream)

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        """Wait for what the server sends next; TornError if the connection ends in mid-answer."""
        while True:
            try:
                event = self.wire.next_event()
                if event is h11.NEED_DATA:
                    self.wire.receive_data(bytes(await self.stream.receive_some(PIECE)))
                    continue
            except BROKEN as error:
                raise TornError(f"connection broken: {error.__cause__ or error}") from error
            except h11.RemoteProtocolError as error:
                raise TornError(f"broken off: {error}") from error
            if isinstance(event, h11.ConnectionClosed):
                raise TornError("closed before an answer")
            return event  # type: ignore[return-value]  # NEED_DATA was dealt with


class HTTP1Ask(Ask):
    """One request."""

    def __init__(self, connection: HTTP1) -> None:
        self._connection = connection

    async def push(self, event: h11.Event) -> None:
        """Send; a server that has closed may still have left its answer."""
        connection = self._connection
        if connection.deaf is None and (data := connection.wire.send(event)):
            try:
                await connection.stream.send_all(data)
            except BROKEN as error:
                why = f"connection broken: {error.__cause__ or error}"
                raise TornError(why, untouched=connection.kept) from error

    async def send(self, data: bytes) -> None:
        await self.push(h11.Data(data=data))

    async def end(self) -> None:
        await self.push(h11.EndOfMessage())

    async def head(self) -> tuple[int, Mapping[bytes, bytes]]:
        connection = self._connection
        while True:
            try:
                event = await connection.next_event()
            except TornError as error:
                if connection.deaf is None:
                    raise
                why = f"connection broken while sending: {connection.deaf}"
                raise TornError(why, untouched=connection.kept) from error
            if isinstance(event, h11.Response):
                return event.status_code, dict(event.headers)

    async def read(self) -> bytes:
        while True:
            event = await self._connection.next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self._reuse()
                return b""

    async def abandon(self) -> None:
        await self._connection.close()

    def _reuse(self) -> None:
        wire = self._connection.wire
        if wire.our_state is h11.DONE and wire.their_state is h11.DONE:
            wire.start_next_cycle()
            self._connection.kept = True
