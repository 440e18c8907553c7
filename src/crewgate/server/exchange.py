"""One request and its answer, the same for HTTP/1.1 and HTTP/2: all that an application sees.

The body is pulled, and nothing more is read from the client than was pulled; an answer is either
whole (`respond`) or streamed (`start`, `push` or `send`, `finish`). Who works on it is a coroutine,
or a `watcher` that is called. Knows no wire format: a protocol feeds it and fills in the methods
that write. A client that has gone is a normal event: writing to it does nothing or raises
ClientError, `scope` is cancelled and the watcher told.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Protocol

import trio

from crewgate import limits
from crewgate.core.http import HeaderField
from crewgate.errors import ClientError
from crewgate.server.request import ClientInfo, Request
from crewgate.server.wakeup import WakeupEvent


class ExchangeObserver(Protocol):
    """Who works on an exchange without a task; called in plain code, and never after `leave`."""

    def body_arrived(self) -> None:
        """More of the body is there, or its end (`complete`)."""

    def drained(self) -> None:
        """After a `push` that returned False: more may be sent."""

    def too_large(self) -> None:
        """The body has come over its bound: to be answered, and nothing more of it comes."""

    def lost(self) -> None:
        """The client has gone, or this request was broken off."""


_NEVER_RELAYED = {HTTPStatus.CONTINUE, HTTPStatus.SWITCHING_PROTOCOLS}
BODYLESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}  # RFC 9110 §6.4.1, and no length either

ExchangeHandler = Callable[["Exchange"], Coroutine[None, None, None] | None]


class Exchange(ABC):
    """A request, its body and the way to answer it.

    `started` tells that an answer's head was sent, `done` that the answer is over (finished, reset
    or impossible), `complete` that the whole body of the request has arrived, `trailers` what
    followed it, `upgrades` that the client asks for another protocol, which none can have. A call
    of `read` and one of `send` may wait at the same time, in two tasks.
    """

    __slots__ = (
        "_chunks",
        "_full",
        "_reading",
        "_reading_since",
        "_scope",
        "_writing",
        "_writing_since",
        "body_bytes_max",
        "bytes_in",
        "complete",
        "done",
        "gone",
        "peer",
        "request",
        "started",
        "trailers",
        "upgrades",
        "watcher",
    )

    def __init__(self, request: Request, peer: ClientInfo) -> None:
        self.request = request
        self.peer = peer
        self.trailers: Sequence[HeaderField] = ()
        self.complete = False
        self.started = False
        self.done = False
        self.gone = False
        self.upgrades = False
        self.bytes_in = 0
        self.body_bytes_max = limits.request_body_bytes_max  # until somebody says otherwise
        self.watcher: ExchangeObserver | None = None
        self._chunks: deque[bytes] | None = None
        self._full = False  # `push` has said that it is enough
        self._reading: WakeupEvent | None = None
        self._writing: WakeupEvent | None = None
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
        """Return the next piece of the body, b"" at its end; ClientError if the client has gone."""
        while not self._chunks:
            if self.complete:
                return b""
            await self._wait_readable()
        return self.take()

    async def fill(self, count: int) -> None:
        """Wait until the body is complete or `count` bytes of it are buffered, and take none.

        `count` is at most `limits.buffer_bytes_max`, beyond which nothing comes. ClientError if the
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

    def want_body(self) -> None:
        """Wait for more of the body from now on: the sweeper and the client are told."""
        self._reading_since = self._now()
        self._ask_for_body()

    # The application's side: the answer.

    @abstractmethod
    def inform(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Send an informational answer ahead of the answer (RFC 9110 §15.2), such as 103.

        Nothing once the answer has begun, to a client that would not understand (HTTP/1.0), or for
        101, which would hand over the connection, and 100, which is sent when the body is wanted.
        """

    @abstractmethod
    def respond(self, status: int, headers: Sequence[HeaderField], body: bytes = b"") -> None:
        """Answer in full; adds Content-Length. Nothing if the client has gone."""

    @abstractmethod
    def start(self, status: int, headers: Sequence[HeaderField], *, ends: bool = False) -> None:
        """Send the head of an answer whose body follows, unless the head `ends` the answer.

        ClientError if the client has gone.
        """

    @abstractmethod
    def push(self, data: bytes) -> bool:
        """Send a piece of the body; False if that is enough until `drained` is called.

        That is so from `limits.buffer_bytes_max` unsent bytes on. ClientError if the client has
        gone.
        """

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, and wait while too much of it is unsent.

        ClientError if the client has gone.
        """
        if not self.push(data):
            self._writing = self._writing or WakeupEvent()
            await self._writing.wait()
            if self.done:
                raise ClientError("the client has gone")

    @abstractmethod
    def finish(self, data: bytes = b"", trailers: Sequence[HeaderField] = ()) -> None:
        """End a streamed answer, with a last piece that waits for nobody. Nothing if it is over."""

    @abstractmethod
    def reset(self, code: int) -> None:
        """Break the answer off (HTTP/2: RST_STREAM with `code`; HTTP/1.1: close the connection)."""

    @abstractmethod
    def distrust(self, *, hold: bool) -> None:
        """Count a bad token, before it is answered; `hold`: do not read the client for a while."""

    # The protocol's side.

    @abstractmethod
    def _now(self) -> float:
        """Return the connection's coarse clock, in seconds."""

    @abstractmethod
    def _ask_for_body(self) -> None:
        """Tell the protocol that the body is waited for (100-continue, RFC 9110 §10.1.1)."""

    @abstractmethod
    def _consumed(self, count: int) -> None:
        """Tell the protocol that `count` bytes were read, so that as many may follow."""

    def feed(self, data: bytes) -> None:
        """Take a piece of the body from the wire."""
        self.bytes_in += len(data)
        self._chunks = self._chunks or deque()
        self._chunks.append(data)
        self._reading_since = 0.0
        self._wake_reader()

    def feed_end(self, trailers: Sequence[HeaderField] = ()) -> None:
        """Note that the whole request has arrived."""
        self.complete = True
        self.trailers = trailers
        self._wake_reader()

    def is_blocked(self, count: int) -> bool:
        """Return whether `count` bytes more are over the body's bound, and it still matters."""
        return not self.done and self.bytes_in + count > self.body_bytes_max

    def refuse_body(self) -> bool:
        """Let the watcher answer a body that is over its bound; False if nobody did."""
        if self.watcher is not None:
            self.watcher.too_large()
        return self.done

    def lose(self) -> None:
        """Note that the client has gone; whoever works for it is cancelled."""
        self.gone = True
        self.done = True
        if self._scope is not None:
            self._scope.cancel()
        if self._reading is not None:
            self._reading.set()
        if self._writing is not None:
            self._writing.set()
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.lost()

    def overdue(self, now: float) -> bool:
        """Return whether the client has owed bytes of the body, or the reading of ours, too long.

        Once an answer is under way, a body may trickle: that is a stream in two directions. It owes
        nothing once it is gone: a busy machine sweeps again before the reset is sent.
        """
        if self.gone:
            return False
        if self._writing_since and now - self._writing_since > limits.send_wait_seconds_max:
            return True
        if self.started or not self._reading_since:
            return False
        return now - self._reading_since > limits.body_wait_seconds_max

    def wake_writer(self) -> None:
        """Let whoever was told that enough is unsent go on."""
        if not self._full:
            return
        self._full = False
        self._writing_since = 0.0
        if self._writing is not None:
            self._writing.set()
        if self.watcher is not None:
            self.watcher.drained()

    def _may_inform(self, status: int) -> bool:
        """Return whether an informational answer of this status may go out now."""
        return not self.started and not self.done and status not in _NEVER_RELAYED

    def _owes_continue(self) -> bool:
        """Return whether the client still waits for 100 (Continue) before it sends its body."""
        if self.started or self.bytes_in or self.complete:
            return False
        return any(
            name == b"expect" and value.lower() == b"100-continue"
            for name, value in self.request.headers
        )

    def _note_full(self) -> None:
        """Wait for the client to read, known to the sweeper."""
        self._full = True
        self._writing_since = self._now()

    def _wake_reader(self) -> None:
        if self._reading is not None:
            self._reading.set()
        if self.watcher is not None:
            self.watcher.body_arrived()

    async def _wait_readable(self) -> None:
        """Wait for more of the body."""
        if self.gone:
            raise ClientError("the client has gone")
        self.want_body()
        self._reading = self._reading or WakeupEvent()
        await self._reading.wait()
        self._reading_since = 0.0
