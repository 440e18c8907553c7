"""A server of the fleet that speaks HTTP/2 and nothing else."""

from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import trio
from upstream_fleet import Request, Server


class HTTP2Server(Server):
    """Answers each stream in a task. `refuses` counts down: so many streams are refused first."""

    refuses = 0
    most_at_once = 0

    async def _talk(self, stream: trio.abc.Stream) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        talk = _Talk(self, stream, h2.connection.H2Connection(config))
        async with trio.open_nursery() as nursery:
            await talk.read(nursery)
            nursery.cancel_scope.cancel()

    async def answer(self, request: Request) -> tuple[int, bytes] | None:
        """Status and body; None to say nothing."""
        self.most_at_once = max(self.most_at_once, self.under_way + 1)
        return self._answer(request) if await self._consider(request) else None


class _Talk:
    """One connection."""

    def __init__(
        self, server: HTTP2Server, stream: trio.abc.Stream, engine: h2.connection.H2Connection
    ) -> None:
        self._server = server
        self._stream = stream
        self._engine = engine
        self._heads: dict[int, dict[bytes, bytes]] = {}
        self._bodies: dict[int, bytes] = {}
        self._sending = trio.Lock()

    async def read(self, nursery: trio.Nursery) -> None:
        self._engine.initiate_connection()
        await self._flush()
        while data := await self._stream.receive_some():
            for event in self._engine.receive_data(data):
                self._take(event, nursery)
            await self._flush()

    def _take(self, event: Any, nursery: trio.Nursery) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._heads[event.stream_id] = dict(event.headers)
            self._bodies[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            self._bodies[event.stream_id] += event.data
            self._engine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._begin(event.stream_id, nursery)

    def _begin(self, number: int, nursery: trio.Nursery) -> None:
        fields = self._heads.pop(number)
        request = Request(fields[b":method"], fields[b":path"], fields, self._bodies.pop(number))
        if self._server.refuses:
            self._server.refuses -= 1
            self._engine.reset_stream(number, h2.errors.ErrorCodes.REFUSED_STREAM)
        else:
            nursery.start_soon(self._answer, number, request)

    async def _answer(self, number: int, request: Request) -> None:
        answer = await self._server.answer(request)
        if answer is None:
            await trio.aclose_forcefully(self._stream)
            return
        status, body = answer
        try:
            self._engine.send_headers(number, [(b":status", b"%d" % status)])
            self._engine.send_data(number, body, end_stream=True)
        except h2.exceptions.StreamClosedError:
            return  # the client has given up
        await self._flush()

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._engine.data_to_send():
                await self._stream.send_all(data)
