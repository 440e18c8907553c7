"""Gives an application one request and the means to answer it, the same for HTTP/1.1 and HTTP/2.

The application pulls the body, and the server reads no more from the client than that. The
application responds in full (`respond`) or streams (`start`, then `push` or `send`, then `finish`).
Either a coroutine works on the exchange, or an `ExchangeCallbacks`, set as `watcher`. A protocol
feeds the exchange and implements the methods that write; this module knows no wire format.

A client that disconnects is a normal event: writing to it then does nothing or raises PeerError,
the coroutine's `scope` is cancelled, and the observer's `lost` is called.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Protocol

import trio

from crewgate import limits
from crewgate._datapath.body_relay import BodyRelay
from crewgate._native.presenter import Presenter
from crewgate.core.http_types import HeaderField
from crewgate.core.problems import ProblemFormat
from crewgate.errors import PeerError
from crewgate.server.auto_reset_event import AutoResetEvent
from crewgate.server.request import ClientInfo, Request


class ExchangeCallbacks(Protocol):
    """Works on an exchange without a task of its own, by synchronous callbacks."""

    def body_arrived(self) -> None:
        """Take note that more of the body has arrived, or its end (`complete`)."""

    def drained(self) -> None:
        """Take note that more may be sent, after a `push` that returned False."""

    def too_large(self) -> None:
        """Respond to a body that is over its limit; no more of it will arrive."""

    def lost(self) -> None:
        """Take note that the client has disconnected or reset the request; the last callback."""


_NEVER_RELAYED = {HTTPStatus.CONTINUE, HTTPStatus.SWITCHING_PROTOCOLS}
# Statuses without a body, and without a Content-Length (RFC 9110 §6.4.1).
BODYLESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}

ExchangeHandler = Callable[["Exchange"], Coroutine[None, None, None] | None]
# A later part of what a handler does; a coroutine is run as a task.
ExchangeWork = Callable[[], Coroutine[None, None, None] | None]


class Exchange(ABC):
    """One request, its body and the methods that respond to it.

    `complete`: the whole body of the request has arrived, and `trailers` holds its trailer fields.
    `started`: the head of the response was sent. `done`: the response is finished, reset or
    impossible. `gone`: the client has disconnected. `upgrades`: the client asks for another
    protocol, which the server never grants. `bytes_in` counts the body's bytes so far, of which
    `body_bytes_max` are allowed. One `read` and one `send` may wait at the same time, in two tasks.
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
        "presenter",
        "problem_format",
        "request",
        "request_id",
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
        # Until the application sets the tool's limit.
        self.body_bytes_max = limits.request_body_bytes_max
        self.watcher: ExchangeCallbacks | None = None
        # Set by the application once it has asked its gate about a DPoP proof of the request.
        self.presenter: Presenter | None = None
        # Set if the gate was asked about the request before there was an exchange.
        self.request_id: bytes | None = None
        # Set by the application if the client expects another form than problem documents.
        self.problem_format: ProblemFormat | None = None
        self._chunks: deque[bytes] | None = None
        self._full = False  # the last `push` returned False
        self._reading: AutoResetEvent | None = None
        self._writing: AutoResetEvent | None = None
        self._reading_since = 0.0
        self._writing_since = 0.0
        self._scope: trio.CancelScope | None = None

    @property
    def scope(self) -> trio.CancelScope:
        """The cancel scope of the application's coroutine, made at the first access."""
        if self._scope is None:
            self._scope = trio.CancelScope()
            if self.gone:
                self._scope.cancel()
        return self._scope

    # For the application: the body of the request.

    async def read(self) -> bytes:
        """Return the next piece of the body, b"" at its end.

        Raises PeerError if the client has disconnected.
        """
        while not self._chunks:
            if self.complete:
                return b""
            await self._wait_readable()
        return self.take()

    async def fill(self, count: int) -> None:
        """Wait until the body is complete or `count` bytes of it are buffered, and take none.

        `count` must not exceed `limits.buffer_bytes_max`, because no more is buffered. Raises
        PeerError if the client has disconnected.
        """
        while not self.complete and self.buffered < count:
            await self._wait_readable()

    def take(self) -> bytes:
        """Return all bytes of the body that have arrived and were not read; b"" if none."""
        if not self._chunks:
            return b""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._consumed(len(data))
        return data

    def peek(self) -> bytes:
        """Return what `take` would, and leave it."""
        return b"".join(self._chunks or ())

    @property
    def buffered(self) -> int:
        """How many bytes of the body have arrived and were not read."""
        return sum(map(len, self._chunks)) if self._chunks else 0

    def want_body(self) -> None:
        """Start the client's deadline for more of the body, and send 100 (Continue) if due."""
        self._reading_since = self._now()
        self._ask_for_body()

    # For the application: the response.

    @abstractmethod
    def inform(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Send an informational response (RFC 9110 §15.2), such as 103, before the response.

        Does nothing once the response has begun, or if the client speaks HTTP/1.0, which has none.
        Nor does it send 101, which would hand over the connection, or 100, which `want_body` sends.
        """

    @abstractmethod
    def respond(self, status: int, headers: Sequence[HeaderField], body: bytes = b"") -> None:
        """Send a whole response, with Content-Length.

        Does nothing if a response has begun or the client has disconnected.
        """

    @abstractmethod
    def start(self, status: int, headers: Sequence[HeaderField], *, ends: bool = False) -> None:
        """Send the head of a response; its body follows unless the head `ends` the response.

        Raises PeerError if the client has disconnected.
        """

    @abstractmethod
    def push(self, data: bytes) -> bool:
        """Queue a piece of the body; return False if the next one must wait for `drained`.

        That is so while `limits.buffer_bytes_max` bytes or more are unsent. Raises PeerError if
        the client has disconnected.
        """

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, and wait while too much of it is unsent.

        Raises PeerError if the client has disconnected.
        """
        if not self.push(data):
            self._writing = self._writing or AutoResetEvent()
            await self._writing.wait()
            if self.done:
                raise PeerError("the client has disconnected")

    @abstractmethod
    def finish(self, data: bytes = b"", trailers: Sequence[HeaderField] = ()) -> None:
        """End a streamed response, with a last piece `data`; do nothing if it is `done`."""

    @abstractmethod
    def reset(self, code: int) -> None:
        """Cut the response (HTTP/2: RST_STREAM with `code`; HTTP/1.1: close the connection)."""

    @abstractmethod
    def distrust(self, *, hold: bool) -> None:
        """Count a bad token before responding; if `hold`, read nothing until the next sweep."""

    @abstractmethod
    def proceed(self, work: ExchangeWork) -> None:
        """Do a later part of the application's work, inside the barrier of this request."""

    def relay_to(self, body: BodyRelay) -> bool:  # noqa: ARG002
        """Let `body` send a response that has begun; return False if only `push` can send it."""
        return False

    # For the protocol.

    @abstractmethod
    def _now(self) -> float:
        """Return the connection's coarse clock, in seconds."""

    @abstractmethod
    def _ask_for_body(self) -> None:
        """Send 100 (Continue) if the client waits for it (RFC 9110 §10.1.1)."""

    @abstractmethod
    def _consumed(self, count: int) -> None:
        """Let the client send `count` bytes more, because as many were read."""

    def feed(self, data: bytes) -> None:
        """Buffer a piece of the body that has arrived."""
        self.bytes_in += len(data)
        self._chunks = self._chunks or deque()
        self._chunks.append(data)
        self._reading_since = 0.0
        self._wake_reader()

    def feed_end(self, trailers: Sequence[HeaderField] = ()) -> None:
        """Mark the request as complete."""
        self.complete = True
        self.trailers = trailers
        self._wake_reader()

    def is_blocked(self, count: int) -> bool:
        """Return whether `count` more bytes exceed the body's limit before the response is done."""
        return not self.done and self.bytes_in + count > self.body_bytes_max

    def refuse_body(self) -> bool:
        """Let the observer respond to a body over its limit; return whether it has."""
        if self.watcher is not None:
            self.watcher.too_large()
        return self.done

    def lose(self) -> None:
        """Mark the client as disconnected; cancel the coroutine and call the observer's `lost`."""
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
        """Return whether the client has not sent its body, or not read its response, for too long.

        Once a response has begun, the body may arrive slowly: the exchange may be a stream in two
        directions. A client that has disconnected is never overdue: on a busy machine the next
        sweep may come before the reset is sent.
        """
        if self.gone:
            return False
        if self._writing_since and now - self._writing_since > limits.send_wait_seconds_max:
            return True
        if self.started or not self._reading_since:
            return False
        return now - self._reading_since > limits.body_wait_seconds_max

    def wake_writer(self) -> None:
        """Let a `send` or an observer go on that waits because too much was unsent."""
        if not self._full:
            return
        self._full = False
        self._writing_since = 0.0
        if self._writing is not None:
            self._writing.set()
        if self.watcher is not None:
            self.watcher.drained()

    def _may_inform(self, status: int) -> bool:
        """Return whether an informational response of this status may be sent now."""
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
        """Start the client's deadline for reading the response."""
        self._full = True
        self._writing_since = self._now()

    def _wake_reader(self) -> None:
        if self._reading is not None:
            self._reading.set()
        if self.watcher is not None:
            self.watcher.body_arrived()

    async def _wait_readable(self) -> None:
        if self.gone:
            raise PeerError("the client has disconnected")
        self.want_body()
        self._reading = self._reading or AutoResetEvent()
        await self._reading.wait()
        self._reading_since = 0.0
