"""HTTP/2 as a soak's caller speaks it: nghttp2 on a TLS stream, many callers a connection.

Not the library `h2`: that forgets all streams at a GOAWAY, and a gateway that drains sends one.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import ngh2
import trio
from ngh2 import Configuration, ErrorCode, Role, Setting
from soak_http import PIECE, Ask, Connection, Field, Hearing, TornError, Trust

WINDOW = 2**24  # of the connection: one slow reader must not hold up the others
STREAM_WINDOW = PIECE
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


class HTTP2(Connection):
    """One connection; `run` reads it in a task of its own."""

    def __init__(self, stream: trio.SSLStream[Hearing], authority: bytes) -> None:
        self.engine = ngh2.Connection(Role.CLIENT, Configuration(auto_window_update=False))
        self.engine.initiate_connection(
            {Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW, Setting.ENABLE_PUSH: 0}
        )
        self.engine.set_local_window_size(WINDOW)
        self.asks: dict[int, HTTP2Ask] = {}
        self.over: str | None = None  # why nothing comes any more
        self._going = False  # the gateway has said which stream is the last, or will
        self._untouched = False  # it is over, and nobody has looked at what is still asked
        self._stream = stream
        self._authority = authority
        self._sending = trio.Lock()
        self._due = trio.Event()  # what was read asks for something to be written

    @classmethod
    async def open(cls, trust: Trust, nursery: trio.Nursery) -> "HTTP2":
        """Connect, and read in `nursery` until the connection ends."""
        connection = cls(await trust.connect("h2"), trust.name)
        nursery.start_soon(connection.run)
        return connection

    @property
    def usable(self) -> bool:
        return self.over is None and not self._going

    async def ask(
        self, method: bytes, target: bytes, fields: Sequence[Field], length: int | None
    ) -> Ask:
        headers = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", self._authority),
            (b":path", target),
            *fields,
        ]
        if length:
            headers.append((b"content-length", b"%d" % length))
        bodyless = length == 0
        if self.over is not None:
            raise TornError(self.over, untouched=True)
        try:
            number = self.engine.send_request(headers, end_stream=bodyless)
        except ngh2.NGH2Error as error:
            self._going = True
            raise TornError(f"no stream: {error!r}", untouched=True) from error
        ask = self.asks[number] = HTTP2Ask(self, number, ended=bodyless)
        await self.flush()
        self._tear_late(ask)
        return ask

    async def close(self) -> None:
        self.end("closed by us")
        await trio.aclose_forcefully(self._stream)

    async def flush(self) -> None:
        """Send what the engine has; the order of its bytes is the order of this lock."""
        async with self._sending:
            try:
                while self.over is None and (data := self.engine.data_to_send(PIECE)):
                    await self._stream.send_all(data)
            except (*BROKEN, ngh2.NGH2Error) as error:
                self._break("connection broken while sending", error)

    async def run(self) -> None:
        """Read until the connection ends, and answer what is read in another task.

        Whoever reads never waits to write: two peers that do so can wait for each other for ever.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answer)
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        try:
            while self.over is None:
                data = await self._stream.receive_some(PIECE)
                if not data:
                    self.end("connection closed")
                    break
                self.engine.receive_data(data)
                for event in self.engine.events():
                    self._take(event)
                if self.engine.want_write:
                    self._due.set()
        except (*BROKEN, ngh2.NGH2Error) as error:
            self._break("connection broken", error)
        finally:
            self.end("its reader has ended")

    async def _answer(self) -> None:
        while True:
            await self._due.wait()
            self._due = trio.Event()
            await self.flush()

    def end(self, why: str) -> None:
        """Tear whatever is under way."""
        if self.over is None:
            self.over = why
        asks, self.asks = self.asks, {}
        for ask in asks.values():
            self._tear_late(ask)

    def _break(self, what: str, error: Exception) -> None:
        """Tear whatever is under way, for an error of the stream's or the engine's.

        An engine that has heard a GOAWAY is done once no stream is left that the gateway took:
        what is asked then has never been sent.
        """
        if self.over is None:
            self._untouched = self._going and isinstance(error, ngh2.ConnectionStateError)
        self.end(f"{what}: {error.__cause__ or error!r}")

    def _tear_late(self, ask: "HTTP2Ask") -> None:
        """Tear what was asked while the connection ended."""
        if self.over is not None:
            ask.tear(TornError(self.over, untouched=self._untouched))

    def _take(self, event: ngh2.Event) -> None:
        if isinstance(event, ngh2.GoAwayReceived):
            self._going = True
            return
        ask = self.asks.get(getattr(event, "stream_id", 0))
        match event:
            case ngh2.DataReceived() if ask is None:
                self.acknowledge(event.stream_id, len(event.data))
            case ngh2.WindowUpdated(stream_id=0):
                for each in self.asks.values():
                    each.wake()
            case _ if ask is not None:
                self._take_stream(ask, event)

    def _take_stream(self, ask: "HTTP2Ask", event: ngh2.Event) -> None:
        match event:
            case ngh2.ResponseReceived():
                ask.arrived = dict(event.headers)
                ask.finished |= event.end_stream
            case ngh2.DataReceived():
                ask.pieces.append(event.data)
                ask.finished |= event.end_stream
            case ngh2.TrailersReceived():
                ask.finished = True
            case ngh2.StreamClosed():
                del self.asks[ask.number]
                if not ask.finished:
                    refused = event.error_code == ErrorCode.REFUSED_STREAM
                    ask.tear(TornError(f"stream reset: {event.error_code}", untouched=refused))
        ask.wake()

    def acknowledge(self, number: int, count: int) -> None:
        """Open the windows."""
        try:
            self.engine.acknowledge_received_data(count, number)
        except (ngh2.NGH2Error, ValueError):
            return  # the stream or the connection is gone


class HTTP2Ask(Ask):
    """One stream."""

    def __init__(self, connection: HTTP2, number: int, *, ended: bool) -> None:
        self.number = number
        self.arrived: Mapping[bytes, bytes] | None = None
        self.pieces: deque[bytes] = deque()
        self.finished = False
        self._connection = connection
        self._ended = ended
        self._torn: TornError | None = None
        self._moved = trio.Event()

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._moved.set()
        self._moved = trio.Event()

    def tear(self, error: TornError) -> None:
        """Nothing more will come."""
        if not self.finished:
            self._torn = self._torn or error
        self.wake()

    async def send(self, data: bytes) -> None:
        await self._push(data, end=False)

    async def end(self) -> None:
        if not self._ended:
            self._ended = True
            await self._push(b"", end=True)

    async def _push(self, data: bytes, *, end: bool) -> None:
        connection = self._connection
        try:
            connection.engine.send_data(self.number, data, end_stream=end)
            await connection.flush()
            while connection.over is None and connection.engine.queued_body_size(self.number):
                await self._moved.wait()
                await connection.flush()
        except ngh2.NGH2Error:
            return  # the stream is gone: what came of it tells

    async def head(self) -> tuple[int, Mapping[bytes, bytes]]:
        while self.arrived is None:
            self._check()
            await self._moved.wait()
        return int(self.arrived[b":status"]), self.arrived

    async def read(self) -> bytes:
        while not self.pieces:
            if self.finished:
                return b""
            self._check()
            await self._moved.wait()
        data = self.pieces.popleft()
        self._connection.acknowledge(self.number, len(data))
        if self._connection.engine.want_write:
            await self._connection.flush()
        return data

    async def abandon(self) -> None:
        connection = self._connection
        connection.asks.pop(self.number, None)
        for piece in self.pieces:
            connection.acknowledge(self.number, len(piece))
        try:
            connection.engine.reset_stream(self.number, ErrorCode.CANCEL)
        except ngh2.NGH2Error:
            return  # it was over already
        await connection.flush()

    def _check(self) -> None:
        if self._torn is not None:
            raise self._torn
