"""HTTP/2 of a tool's server of the soak: a task a stream, and a GOAWAY after some tens."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import ngh2
import trio
from ngh2 import Configuration, Connection, ErrorCode, Role, Setting
from soak_request import Field, GoneError, Request

STREAMS_MAX = 60  # then the connection says goodbye, as servers of the field do after more
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, ngh2.NGH2Error)
Behave = Callable[[Request], Awaitable[None]]


class HTTP2Request(Request):
    """One stream."""

    def __init__(self, wire: "Wire", number: int, fields: Sequence[Field], log: int) -> None:
        super().__init__(dict(fields)[b":path"], fields, log)
        self.pieces: deque[bytes] = deque()
        self.complete = False
        self.gone = False
        self.moved = trio.Event()
        self._wire = wire
        self._number = number

    def wake(self) -> None:
        """Let the task look again."""
        self.moved.set()
        self.moved = trio.Event()

    async def read(self) -> bytes:
        while not self.pieces:
            if self.complete:
                return b""
            if self.gone:
                raise GoneError
            await self.moved.wait()
        data = self.pieces.popleft()
        self._wire.engine.acknowledge_received_data(len(data), self._number)
        await self._wire.flush()
        return data

    async def start(self, status: int, fields: Sequence[Field]) -> None:
        head = [(b":status", b"%d" % status), *fields, *self.names()]
        self._wire.engine.send_response(self._number, head)
        await self._wire.flush()

    async def piece(self, data: bytes, *, last: bool = False) -> None:
        self._wire.engine.send_data(self._number, data, end_stream=last)
        await self._wire.flush()
        while not last and self._wire.engine.queued_body_size(self._number):
            await self.moved.wait()
            await self._wire.flush()

    async def reset(self) -> None:
        """Break the stream off."""
        self._wire.engine.reset_stream(self._number, ErrorCode.INTERNAL_ERROR)
        await self._wire.flush()


class Wire:
    """One connection."""

    def __init__(self, stream: Stream, log: int, behave: Behave) -> None:
        self.engine = Connection(Role.SERVER, Configuration(auto_window_update=False))
        self.engine.initiate_connection({Setting.MAX_CONCURRENT_STREAMS: 100})
        self.engine.set_local_window_size(2**22)
        self._stream = stream
        self._log = log
        self._behave = behave
        self._sending = trio.Lock()
        self._requests: dict[int, HTTP2Request] = {}
        self._count = 0
        self._last = 2**31  # the last stream that is worked on

    async def flush(self) -> None:
        """Send what there is, in order."""
        async with self._sending:
            while data := self.engine.data_to_send(65_536):
                await self._stream.send_all(data)

    async def run(self) -> None:
        """Serve until the gateway closes, or we have said goodbye and nothing is left."""
        async with trio.open_nursery() as nursery:
            await self.flush()
            while self.engine.want_read or self.engine.want_write:
                data = await self._stream.receive_some(65_536)
                if not data:
                    break
                self.engine.receive_data(data)
                for event in self.engine.events():
                    self._take(event, nursery)
                await self.flush()
            nursery.cancel_scope.cancel()

    def _take(self, event: ngh2.Event, nursery: trio.Nursery) -> None:
        if isinstance(event, ngh2.RequestReceived):
            number = event.stream_id
            if number > self._last:
                return  # the gateway is told that nobody has looked at it
            request = HTTP2Request(self, number, event.headers, self._log)
            request.complete = event.end_stream
            self._requests[number] = request
            nursery.start_soon(self._work, request)
            self._count += 1
            if self._count == STREAMS_MAX:
                self._last = number
                self.engine.send_goaway(ErrorCode.NO_ERROR, last_stream_id=number)
            return
        if isinstance(event, ngh2.WindowUpdated) and not event.stream_id:
            for each in self._requests.values():
                each.wake()
        found = self._requests.get(getattr(event, "stream_id", 0))
        if found is not None:
            self._take_stream(found, event)

    def _take_stream(self, request: HTTP2Request, event: ngh2.Event) -> None:
        match event:
            case ngh2.DataReceived():
                if event.data:
                    request.pieces.append(event.data)
                request.complete |= event.end_stream
            case ngh2.TrailersReceived():
                request.complete = True
            case ngh2.StreamClosed():
                del self._requests[event.stream_id]
                request.gone = True  # a task is not cancelled: it may be sending for all
        request.wake()

    async def _work(self, request: HTTP2Request) -> None:
        with suppress(ngh2.NGH2Error, GoneError):
            await self._behave(request)


async def serve_http2(stream: Stream, log: int, behave: Behave) -> None:
    """One connection; that it breaks is no error."""
    with suppress(*BROKEN):
        try:
            await Wire(stream, log, behave).run()
        except BaseExceptionGroup as group:
            _, other = group.split(BROKEN)
            if other is not None:
                raise other from None
