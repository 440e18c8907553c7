"""A caller of a tool's server that tests can wait for, and a pool with all that it needs."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio
from scripted_server import FakePermit

from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config import UpstreamConfig, UpstreamOrigin
from crewgate.errors import UpstreamError
from crewgate.upstream.connector import Connector
from crewgate.upstream.interfaces import RequestHead, RequestStream
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver
from crewgate.upstream.tls import client_context


class Asked:
    """One call. Its body is `body`, or what `send` and `end` say if it is `open`."""

    def __init__(self, head: RequestHead, body: bytes = b"", *, is_open: bool = False) -> None:
        self.head = head
        self.attempts = 0
        self.over = False
        self.wait_turn = ("",)
        self.idempotent = head.method == b"GET"
        self.repeatable = not is_open
        self.touched = False
        self.carriers: list[RequestStream] = []
        self.error: UpstreamError | None = None
        self._body = body
        self._is_open = is_open
        self._news = trio.Event()

    # The upstream's side.

    def begun(self, carrier: RequestStream) -> None:
        self.carriers.append(carrier)
        carrier.begin(self.head, self._body, ends=not self._is_open)
        self._tell()

    def again(self) -> None:
        self._tell()

    def progressed(self) -> None:
        self._tell()

    def writable(self) -> None:
        self._tell()

    def failed(self, error: UpstreamError) -> None:
        self.error = error
        self._tell()

    # The test's side.

    def start(self, pool: UpstreamPool) -> "Asked":
        pool.start(FakePermit(), self)  # type: ignore[arg-type]
        return self

    @property
    def carrier(self) -> RequestStream:
        return self.carriers[-1]

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until it holds; UpstreamError if the call has failed."""
        while not holds():
            if self.error is not None:
                raise self.error
            await self._news.wait()

    async def begin(self) -> None:
        await self.until(lambda: self.carriers)

    async def send(self, data: bytes) -> None:
        await self.begin()
        if not self.carrier.send_body(data):
            await self._news.wait()

    def end(self, trailers: Sequence = ()) -> None:
        self.carrier.end_body(trailers)

    async def status(self) -> int:
        await self.until(lambda: self.carriers and self.carrier.answer.status)
        return self.carrier.answer.status

    async def read(self) -> bytes:
        """Return the next piece of the answer's body, b"" at its end."""
        await self.status()
        data = self.carrier.answer.take()
        while not data and not self.carrier.answer.complete:
            news = self._news
            if self.error is not None:
                raise self.error
            await news.wait()
            data = self.carrier.answer.take()
        return data

    async def whole(self) -> bytes:
        """Return the whole body, and end the call."""
        data = b""
        try:
            while piece := await self.read():
                data += piece
        finally:
            self.close()
        return data

    def close(self) -> None:
        self.over = True
        if self.carriers:
            self.touched = self.carrier.touched
            self.carrier.release()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()


@asynccontextmanager
async def running_pool(
    *endpoints: UpstreamOrigin, resolver: Resolver | None = None, **settings: object
) -> AsyncIterator[UpstreamPool]:
    """Run a pool of connections to `endpoints` while the block runs."""
    poller, resolver = SocketPoller(), resolver or Resolver()
    upstream = msgspec.structs.replace(UpstreamConfig("tools", endpoints), **settings)
    pool = UpstreamPool(upstream, Connector(upstream, poller, client_context(upstream)), resolver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        nursery.start_soon(resolver.run)
        await nursery.start(pool.run)
        yield pool
        nursery.cancel_scope.cancel()
    poller.close()
