"""Carries one call on one stream of an HTTP/2 connection to a tool's server.

The stream turns what the caller sends into calls of the engine, and keeps what the server
sends until the caller takes it.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

import ngh2

from crewgate import limits
from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.http2_client_engine import HTTP2ClientEngine
from crewgate._datapath.transport import Transport
from crewgate.core.delivery import DeliveryState
from crewgate.core.http_types import HeaderField
from crewgate.errors import UpstreamError
from crewgate.upstream.interfaces import CallObserver, RequestHead

ClientEngine = HTTP2ClientEngine | ngh2.Connection
StreamPart = (
    ngh2.ResponseReceived
    | ngh2.DataReceived
    | ngh2.TrailersReceived
    | ngh2.InformationalResponseReceived
)


class StreamHost(Protocol):
    """The parts of an `HTTP2Connection` that its streams use."""

    engine: ClientEngine
    pool: PoolCallbacks
    authority: bytes
    scheme: bytes
    transport: Transport
    blocked: "set[HTTP2Stream]"

    def opened(self, number: int, stream: "HTTP2Stream") -> None:
        """Add a stream that has begun."""

    def left(self, number: int, stream: "HTTP2Stream", *, unfinished: bool) -> None:
        """Forget a stream that its caller has released; reset it if `unfinished`."""

    def acknowledge(self, number: int, count: int) -> None:
        """Open the windows of the stream and of the connection by `count` bytes."""

    def wake(self) -> None:
        """Write the queued output at the end of this turn."""


class HTTP2Stream:
    """One call on one stream; it is both the `RequestStream` and the `Response` of the call.

    `number` is the number of the stream, 0 before `begin`. `is_refused`: the engine refused the
    request. `paused`: the caller does not want more of the response now. `reset`: the server reset
    the stream, or its response is malformed; neither is a failure of the server.
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_disowned",
        "_informational",
        "_informational_bytes",
        "_informational_count",
        "_is_sending",
        "_start_offset",
        "caller",
        "complete",
        "deadline",
        "headers",
        "informed",
        "is_refused",
        "number",
        "paused",
        "reset",
        "status",
        "trailers",
    )

    def __init__(self, connection: StreamHost, caller: CallObserver) -> None:
        self.caller = caller
        self.number = 0
        self.is_refused = False
        self.paused = False
        self.reset = False
        self.status = 0
        self.headers: list[HeaderField] = []
        self.trailers: list[HeaderField] = []
        self.complete = False
        self.deadline = float("inf")
        self._connection = connection
        self._chunks: list[bytes] = []
        self._informational: list[tuple[int, list[HeaderField]]] = []
        self._informational_count = self._informational_bytes = 0
        self.informed = False
        self._is_sending = False
        # The server has stated that it did not process the call.
        self._disowned = False
        # How many bytes the connection sends before the first byte of this stream.
        self._start_offset: int | None = None

    @property
    def answer(self) -> "HTTP2Stream":
        """The response: this object."""
        return self

    @property
    def touched(self) -> bool:
        """Whether the kernel has taken a byte of the call, and the server has not disowned it.

        The bytes that were queued before the call are sent first, so this compares with their end.
        The result may become True a moment too early, never too late.
        """
        offset, sent = self._start_offset, self._connection.transport.sent
        return offset is not None and not self._disowned and sent > offset

    @property
    def is_starved(self) -> bool:
        """Whether all that the client sent is passed on, and the body is incomplete."""
        connection = self._connection
        try:
            queued = connection.engine.queued_body_size(self.number) + connection.transport.queued
        except ngh2.NGH2Error:
            return False
        return self._is_sending and not queued

    @property
    def delivery(self) -> DeliveryState:
        """What the server has seen of the call."""
        if not self.touched:
            return DeliveryState.UNSEEN
        return DeliveryState.ANSWERED if self.status or self.reset else DeliveryState.LOST

    # `RequestStream`, for the caller.

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        """Open the stream with the head and the first bytes of the body; False if refused."""
        connection = self._connection
        fields = [
            (b":method", head.method),
            (b":scheme", connection.scheme),
            (b":authority", connection.authority),
            (b":path", head.target),
            *head.fields,
        ]
        length = len(body) if ends else head.length
        if length:
            fields.append((b"content-length", b"%d" % length))
        self._is_sending = not ends
        pool = connection.pool
        self.deadline = pool.now + (pool.first_byte_seconds if ends else pool.idle_seconds)
        try:
            self.number = connection.engine.send_request(fields, end_stream=ends and not body)
            if body:
                connection.engine.send_data(self.number, body, end_stream=ends)
        except ngh2.NGH2Error:
            self.is_refused = True
            return False
        self._start_offset = connection.transport.sent + connection.transport.queued
        connection.opened(self.number, self)
        return True

    def send_body(self, data: bytes) -> bool:
        """Send a piece of the body; return False if the next must wait for `writable`."""
        connection = self._connection
        self.deadline = connection.pool.now + connection.pool.idle_seconds
        try:
            connection.engine.send_data(self.number, data)
        except ngh2.NGH2Error:
            return True  # the server has closed the stream; its response says why
        connection.wake()
        if not self.is_full():
            return True
        connection.blocked.add(self)
        return False

    def end_body(self, trailers: Sequence[HeaderField]) -> None:
        """End the body."""
        connection = self._connection
        self._is_sending = False
        if not self.status:
            self.deadline = connection.pool.now + connection.pool.first_byte_seconds
        try:
            if trailers:
                connection.engine.send_trailers(self.number, trailers)
            else:
                connection.engine.end_stream(self.number)
        except ngh2.NGH2Error:
            return
        connection.wake()

    def pause(self) -> None:
        """Stop the callbacks `progressed`, and the deadline; untaken bytes open no window."""
        self.paused = True
        self.deadline = float("inf")

    def resume(self) -> None:
        """Go on with the callbacks, and set a new deadline."""
        self.paused = False
        self.deadline = self._connection.pool.now + self._connection.pool.idle_seconds

    def release(self) -> None:
        """End the call, complete or not."""
        self.take()  # untaken bytes would stay counted against the connection's window
        self._connection.left(self.number, self, unfinished=not self.complete or self._is_sending)

    def take(self) -> bytes:
        """Return the bytes of the body that have arrived and were not taken."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._connection.acknowledge(self.number, len(data))
        return data

    def take_informational(self) -> list[tuple[int, list[HeaderField]]]:
        """Return the informational responses that were not taken yet."""
        taken, self._informational, self.informed = self._informational, [], False
        return taken

    # For the connection.

    def is_full(self) -> bool:
        """Return whether no more of the body may be queued."""
        try:
            return self._connection.engine.queued_body_size(self.number) >= limits.buffer_bytes_max
        except ngh2.NGH2Error:
            return False

    def disown(self) -> bool:
        """Mark the call as not processed by the server; return False if it had responded."""
        if self.status or self._informational_count:
            return False
        self._disowned = True
        return True

    def take_part(self, part: StreamPart) -> None:
        """Add a part of the response; raise UpstreamError if it is not allowed."""
        match part:
            case ngh2.DataReceived():
                if part.data:
                    if self.status == HTTPStatus.RESET_CONTENT:  # RFC 9110 §15.3.6
                        raise UpstreamError("the tool's server sent a body with status 205")
                    self._chunks.append(part.data)
                self.complete = self.complete or part.end_stream
            case ngh2.ResponseReceived():
                self.status, self.headers = _split(part.headers)
                self.complete = part.end_stream
            case ngh2.TrailersReceived():
                self.trailers = list(part.headers)
                self.complete = True
            case _:
                self._take_informational_part(part)
        if not self.paused:
            self.resume()

    def _take_informational_part(self, part: ngh2.InformationalResponseReceived) -> None:
        informational = _split(part.headers)
        self._informational_count += 1
        # A field counts 32 bytes more than its name and value (RFC 9113 §6.5.2).
        size = sum(len(name) + len(value) + 32 for name, value in part.headers)
        self._informational_bytes += size
        if self._informational_bytes > limits.upstream_head_bytes_max:
            raise UpstreamError("the tool's server sent too many informational responses")
        # 100 (Continue) answers an Expect field. The gateway sends none, so it forwards no 100.
        is_continue = informational[0] == HTTPStatus.CONTINUE
        if not is_continue and self._informational_count <= limits.upstream_informational_max:
            self._informational.append(informational)
            self.informed = True


def _split(headers: Sequence[HeaderField]) -> tuple[int, list[HeaderField]]:
    """Return (status, other fields); ngh2 has checked that there is one three-digit status."""
    fields = [field for field in headers if field[0][:1] != b":"]
    status = next((value for name, value in headers if name == b":status"), b"0")
    if status == b"101":
        raise UpstreamError("the tool's server sent status 101 unasked")
    return int(status), fields
