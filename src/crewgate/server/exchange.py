"""One request and its answer, the same for HTTP/1.1 and HTTP/2: all that an application sees.

The body is pulled, and nothing more is read from the client than was pulled; an answer is either
whole (`respond`) or streamed (`start`, `send`, `finish`). Knows no wire format: a protocol feeds
it and fills in the methods that write. A client that has gone is a normal event: writing to it
does nothing or raises PeerError, and `scope` is cancelled.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Sequence

import trio

from crewgate import limits
from crewgate.errors import PeerError
from crewgate.server.request import Field, Peer, Request
from crewgate.server.wakeup import Wakeup

Application = Callable[["Exchange"], Coroutine[None, None, None] | None]


class Exchange(ABC):
    """A request, its body and the way to answer it.

    `started` tells that an answer's head was sent, `done` that the answer is over (finished, reset
    or impossible), `complete` that the whole body of the request has arrived, `trailers` what
    followed it. A call of `read` and one of `send` may wait at the same time, in two tasks.
    """

    __slots__ = (
        "_chunks",
        "_reading",
        "_reading_since",
        "_scope",
        "_writing",
        "_writing_since",
        "bytes_in",
        "complete",
        "done",
        "gone",
        "peer",
        "request",
        "started",
        "trailers",
    )

    def __init__(self, request: Request, peer: Peer) -> None:
        self.request = request
        self.peer = peer
        self.trailers: Sequence[Field] = ()
        self.complete = False
        self.started = False
        self.done = False
        self.gone = False
        self.bytes_in = 0
        self._chunks: deque[bytes] | None = None
        self._reading: Wakeup | None = None
        self._writing: Wakeup | None = None
        self._reading_since = 0.0
        self._writing_since = 0.0
        self._scope: trio.CancelScope | None = None

    def __repr__(self) -> str:
        state = "done" if self.done else "started" if self.started else "waiting"
        return f"<{type(self).__name__} {self.request.method!r} {self.request.path!r} {state}>"

    @property
    def scope(self) -> trio.CancelScope:
        """The cancel scope that the application's coroutine runs in; made when first asked for."""
        if self._scope is None:
            self._scope = trio.CancelScope()
            if self.gone:
                self._scope.cancel()
        return self._scope

    # The application's side: the body.

    async def read(self) -> bytes:
        """Return the next piece of the body, b"" at its end; PeerError if the client has gone."""
        while not self._chunks:
            if self.complete:
                return b""
            await self._wait_readable()
        return self.take()

    async def fill(self, count: int) -> None:
        """Wait until the body is complete or `count` bytes of it are buffered, and take none.

        `count` is at most `limits.buffer_bytes_max`, beyond which nothing comes. PeerError if the
        client has gone.
        """
        while not self.complete and self.buffered < count:
            await self._wait_readable()

    def take(self) -> bytes:
        """Return all of the body that has arrived and was not read; b"" if there is none."""
        if not self._chunks:
            return b""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._consumed(len(data))
        return data

    @property
    def buffered(self) -> int:
        """Bytes of the body that have arrived and were not read."""
        return sum(map(len, self._chunks)) if self._chunks else 0

    # The application's side: the answer.

    @abstractmethod
    def respond(self, status: int, headers: Sequence[Field], body: bytes = b"") -> None:
        """Answer in full; adds Content-Length. Nothing if the client has gone."""

    @abstractmethod
    def start(self, status: int, headers: Sequence[Field]) -> None:
        """Send the head of an answer whose body follows; PeerError if the client has gone."""

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Send a piece of the body, and wait while too much of it is unsent.

        PeerError if the client has gone.
        """

    @abstractmethod
    def finish(self, data: bytes = b"", trailers: Sequence[Field] = ()) -> None:
        """End a streamed answer, with a last piece that waits for nobody. Nothing if it is over."""

    @abstractmethod
    def reset(self, code: int) -> None:
        """Break the answer off (HTTP/2: RST_STREAM with `code`; HTTP/1.1: close the connection)."""

    # The protocol's side.

    @abstractmethod
    def _now(self) -> float:
        """Return the connection's coarse clock, in seconds."""

    @abstractmethod
    def _want_body(self) -> None:
        """Tell the protocol that the body is waited for (100-continue, RFC 9110 §10.1.1)."""

    @abstractmethod
    def _consumed(self, count: int) -> None:
        """Tell the protocol that `count` bytes were read, so that as many may follow."""

    def feed(self, data: bytes) -> None:
        """Take a piece of the body from the wire."""
        self.bytes_in += len(data)
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.append(data)
        self._wake_reader()

    def feed_end(self, trailers: Sequence[Field] = ()) -> None:
        """Note that the whole request has arrived."""
        self.complete = True
        self.trailers = trailers
        self._wake_reader()

    def lose(self) -> None:
        """Note that the client has gone; whoever works for it is cancelled."""
        self.gone = True
        self.done = True
        if self._scope is not None:
            self._scope.cancel()
        self._wake_reader()
        self.wake_writer()

    def overdue(self, now: float) -> bool:
        """Return whether the client has owed bytes of the body, or the reading of ours, too long.

        Once an answer is under way, a body may trickle: that is a stream in two directions.
        """
        if self._writing_since and now - self._writing_since > limits.send_wait_seconds_max:
            return True
        if self.started or not self._reading_since:
            return False
        return now - self._reading_since > limits.body_wait_seconds_max

    def wake_writer(self) -> None:
        """Let a waiting `send` look again whether it may go on."""
        if self._writing is not None:
            self._writing.set()

    def _owes_continue(self) -> bool:
        """Return whether the client still waits for 100 (Continue) before it sends its body."""
        if self.started or self.bytes_in or self.complete:
            return False
        return any(
            name == b"expect" and value.lower() == b"100-continue"
            for name, value in self.request.headers
        )

    def _wake_reader(self) -> None:
        if self._reading is not None:
            self._reading.set()

    async def _wait_readable(self) -> None:
        """Wait for more of the body, known to the sweeper as a client that owes it."""
        if self.gone:
            raise PeerError("the client has gone")
        self._want_body()
        if self._reading is None:
            self._reading = Wakeup()
        self._reading_since = self._now()
        await self._reading.wait()
        self._reading_since = 0.0

    async def _wait_writable(self) -> None:
        """Wait for `wake_writer`, known to the sweeper as a client that does not read."""
        if self._writing is None:
            self._writing = Wakeup()
        self._writing_since = self._now()
        await self._writing.wait()
        self._writing_since = 0.0
