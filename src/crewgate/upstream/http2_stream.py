"""One stream of an HTTP/2 connection to a tool's server: a call's carrier, and its answer.

What a caller says becomes calls of the engine; what the server says is kept until it is taken.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

import ngh2

from crewgate import limits
from crewgate.core.http import HeaderField
from crewgate.errors import UpstreamError
from crewgate.upstream.interfaces import CallObserver, DeliveryState, PoolCallbacks, RequestHead
from crewgate.upstream.transport import Transport

StreamPart = (
    ngh2.ResponseReceived
    | ngh2.DataReceived
    | ngh2.TrailersReceived
    | ngh2.InformationalResponseReceived
)


class StreamHost(Protocol):
    """The connection, as its streams see it."""

    engine: ngh2.Connection
    owner: PoolCallbacks
    authority: bytes
    scheme: bytes
    wire: Transport
    blocked: "set[HTTP2Stream]"

    def opened(self, number: int, stream: "HTTP2Stream") -> None:
        """Take a stream that has begun."""

    def left(self, number: int, stream: "HTTP2Stream", *, unfinished: bool) -> None:
        """Forget a stream whose caller wants nothing more."""

    def acknowledge(self, number: int, count: int) -> None:
        """Open the windows by `count` bytes."""

    def wake(self) -> None:
        """Write at the end of this turn."""


class HTTP2Stream:
    """One call. Is its own `Answer`."""

    __slots__ = (
        "_chunks",
        "_disowned",
        "_host",
        "_interim",
        "_interim_bytes",
        "_interim_count",
        "_sending",
        "_starts",
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

    def __init__(self, host: StreamHost, caller: CallObserver) -> None:
        self.caller = caller
        self.number = 0  # of the stream; 0 before `begin`
        self.is_refused = False  # nothing could be said, and nothing will be
        self.paused = False  # the caller waits for the client
        # By the server, or because its answer is malformed: that says nothing of its health.
        self.reset = False
        self.status = 0
        self.headers: list[HeaderField] = []
        self.trailers: list[HeaderField] = []
        self.complete = False
        self.deadline = float("inf")
        self._host = host
        self._chunks: list[bytes] = []
        self._interim: list[tuple[int, list[HeaderField]]] = []
        self._interim_count = self._interim_bytes = 0
        self.informed = False
        self._sending = False
        self._disowned = False  # the server has said that it did not look
        self._starts: int | None = None  # of all bytes on the wire, how many come before its own

    @property
    def answer(self) -> "HTTP2Stream":
        """What has come."""
        return self

    @property
    def touched(self) -> bool:
        """Whether the kernel has a byte of it, and the server does not disown it.

        What was on the wire's way before it was begun went first; so this may be so a moment too
        early, and is never so too late.
        """
        starts = self._starts
        return starts is not None and not self._disowned and self._host.wire.sent > starts

    @property
    def is_starved(self) -> bool:
        """Whether the server has all that came of the body, and waits for more with us."""
        host = self._host
        try:
            left = host.engine.queued_body_size(self.number) + host.wire.queued
        except ngh2.NGH2Error:
            return False
        return self._sending and not left

    @property
    def fate(self) -> DeliveryState:
        """What the server has seen."""
        if not self.touched:
            return DeliveryState.UNSEEN
        return DeliveryState.ANSWERED if self.status or self.reset else DeliveryState.LOST

    # The caller's side.

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        """Open the stream with the head and the first of the body."""
        host = self._host
        fields = [
            (b":method", head.method),
            (b":scheme", host.scheme),
            (b":authority", host.authority),
            (b":path", head.target),
            *head.fields,
        ]
        length = len(body) if ends else head.length
        if length:
            fields.append((b"content-length", b"%d" % length))
        self._sending = not ends
        owner = host.owner
        self.deadline = owner.now + (owner.first_byte_seconds if ends else owner.idle_seconds)
        try:
            self.number = host.engine.send_request(fields, end_stream=ends and not body)
            if body:
                host.engine.send_data(self.number, body, end_stream=ends)
        except ngh2.NGH2Error:
            self.is_refused = True
            return False
        self._starts = host.wire.sent + host.wire.queued
        host.opened(self.number, self)
        return True

    def send_body(self, data: bytes) -> bool:
        """Send a piece of the body."""
        host = self._host
        self.deadline = host.owner.now + host.owner.idle_seconds
        try:
            host.engine.send_data(self.number, data)
        except ngh2.NGH2Error:
            return True  # the server wants no more of it; its answer says why
        host.wake()
        if not self.is_full():
            return True
        host.blocked.add(self)
        return False

    def end_body(self, trailers: Sequence[HeaderField]) -> None:
        """End the body."""
        host = self._host
        self._sending = False
        if not self.status:
            self.deadline = host.owner.now + host.owner.first_byte_seconds
        try:
            if trailers:
                host.engine.send_trailers(self.number, trailers)
            else:
                host.engine.end_stream(self.number)
        except ngh2.NGH2Error:
            return
        host.wake()

    def pause(self) -> None:
        """Wait for the client: what is not taken opens no window, and nobody is told of more."""
        self.paused = True
        self.deadline = float("inf")

    def resume(self) -> None:
        """Go on."""
        self.paused = False
        self.deadline = self._host.owner.now + self._host.owner.idle_seconds

    def release(self) -> None:
        """End the call, wherever it is."""
        self.take()  # its bytes count against the connection's window until they are taken
        self._host.left(self.number, self, unfinished=not self.complete or self._sending)

    def take(self) -> bytes:
        """Return what has come of the body and was not taken."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._host.acknowledge(self.number, len(data))
        return data

    def take_informational(self) -> list[tuple[int, list[HeaderField]]]:
        """Return the informational answers that have come and were not taken."""
        taken, self._interim, self.informed = self._interim, [], False
        return taken

    # The connection's side.

    def is_full(self) -> bool:
        """Return whether as much of the body is queued as may be."""
        try:
            return self._host.engine.queued_body_size(self.number) >= limits.buffer_bytes_max
        except ngh2.NGH2Error:
            return False

    def disown(self) -> bool:
        """Hear that the server did not look at the call; False if it has said something to it."""
        if self.status or self._interim_count:
            return False
        self._disowned = True
        return True

    def take_part(self, part: StreamPart) -> None:
        """Take a part of the answer. UpstreamError for one that nobody asked for."""
        match part:
            case ngh2.DataReceived():
                if part.data:
                    if self.status == HTTPStatus.RESET_CONTENT:  # RFC 9110 §15.3.6
                        raise UpstreamError("a body where none may be")
                    self._chunks.append(part.data)
                self.complete = self.complete or part.end_stream
            case ngh2.ResponseReceived():
                self.status, self.headers = _split(part.headers)
                self.complete = part.end_stream
            case ngh2.TrailersReceived():
                self.trailers = list(part.headers)
                self.complete = True
            case _:
                self._take_interim(part)
        if not self.paused:
            self.resume()

    def _take_interim(self, part: ngh2.InformationalResponseReceived) -> None:
        interim = _split(part.headers)
        self._interim_count += 1
        self._interim_bytes += sum(len(name) + len(value) + 32 for name, value in part.headers)
        if self._interim_bytes > limits.upstream_head_bytes_max:  # as RFC 9113 §6.5.2 counts them
            raise UpstreamError("informational answers without an end")
        # 100 (Continue) answers an Expect, which is ours to give and which we do not send.
        known = interim[0] == HTTPStatus.CONTINUE
        if not known and self._interim_count <= limits.upstream_informational_max:
            self._interim.append(interim)
            self.informed = True


def _split(headers: Sequence[HeaderField]) -> tuple[int, list[HeaderField]]:
    """(status, other fields); ngh2 has checked that there is one status, of three digits."""
    fields = [field for field in headers if field[0][:1] != b":"]
    status = next((value for name, value in headers if name == b":status"), b"0")
    if status == b"101":
        raise UpstreamError("no answer that was asked for")
    return int(status), fields
