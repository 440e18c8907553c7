"""One HTTP/2 stream as an exchange: what an application writes becomes calls of the engine.

Knows neither frames nor events; a stream that is gone is where writing ends, not an error of ours.
"""

import contextlib
from collections.abc import Sequence
from typing import Protocol

import ngh2

from crewgate.core.http import HeaderField
from crewgate.errors import ClientError
from crewgate.server.exchange import BODYLESS, Exchange
from crewgate.server.protocol import ConnectionHost
from crewgate.server.request import Request, is_dated


class HTTP2Owner(Protocol):
    """The connection's protocol, as a stream sees it."""

    host: ConnectionHost
    engine: ngh2.Connection
    blocked: "set[HTTP2Exchange]"  # those whose `send` waits for the queue to shrink

    def reset(self, exchange: "HTTP2Exchange", code: int) -> None:
        """Send RST_STREAM; nothing if the stream is gone."""

    def is_full(self, stream: int) -> bool:
        """Return whether as much of an answer is queued as may be."""

    def acknowledge(self, stream: int, count: int) -> None:
        """Open the windows by `count` bytes."""

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token."""

    def answered(self, exchange: "HTTP2Exchange") -> None:
        """Note that an answer is complete."""


class HTTP2Exchange(Exchange):
    """One stream."""

    __slots__ = ("_protocol", "discarded")

    def __init__(self, request: Request, protocol: HTTP2Owner) -> None:
        super().__init__(request, protocol.host.peer)
        self._protocol = protocol
        self.discarded = 0  # bytes of the body that came after the answer

    def inform(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Send an informational answer."""
        if not self._may_inform(status):
            return
        fields = [(b":status", b"%d" % status), *headers]
        with contextlib.suppress(ngh2.NGH2Error):
            self._protocol.engine.send_informational_response(self.request.stream, fields)
        self._protocol.host.wake()

    def respond(self, status: int, headers: Sequence[HeaderField], body: bytes = b"") -> None:
        """Answer in full."""
        if self.done or self.started:
            return
        self.started = self.done = True
        protocol = self._protocol
        stream = self.request.stream
        fields = [
            (b":status", b"%d" % status),
            *headers,
            (b"date", protocol.host.date()),
        ]
        if status not in BODYLESS:
            fields.append((b"content-length", b"%d" % len(body)))
        whole = not body or self.request.method == b"HEAD" or status in BODYLESS
        try:
            protocol.engine.send_response(stream, fields, end_stream=whole)
            if not whole:
                protocol.engine.send_data(stream, body, end_stream=True)
        except ngh2.NGH2Error:
            return
        self._end()

    def start(self, status: int, headers: Sequence[HeaderField], *, ends: bool = False) -> None:
        """Send the head of a streamed answer."""
        if self.done:
            raise ClientError("the client has gone")
        self.started = True
        protocol = self._protocol
        fields = [(b":status", b"%d" % status), *headers]
        if not is_dated(headers):
            fields.append((b"date", protocol.host.date()))
        try:
            protocol.engine.send_response(self.request.stream, fields, end_stream=ends)
        except ngh2.NGH2Error as error:
            self.lose()
            raise ClientError("the client has gone") from error
        if ends:
            self._end()
        else:
            protocol.host.wake()

    def push(self, data: bytes) -> bool:
        """Send a piece; False once `limits.buffer_bytes_max` or more are queued."""
        if self.done:
            raise ClientError("the client has gone")
        protocol = self._protocol
        try:
            protocol.engine.send_data(self.request.stream, data)
        except ngh2.NGH2Error as error:
            self.lose()
            raise ClientError("the client has gone") from error
        protocol.host.wake()
        if not protocol.is_full(self.request.stream):
            return True
        protocol.blocked.add(self)
        self._note_full()
        return False

    def finish(self, data: bytes = b"", trailers: Sequence[HeaderField] = ()) -> None:
        """End the answer."""
        if self.done:
            return
        self.done = True
        engine, stream = self._protocol.engine, self.request.stream
        try:
            if trailers:
                if data:
                    engine.send_data(stream, data)
                engine.send_trailers(stream, trailers)
            else:
                engine.send_data(stream, data, end_stream=True)
        except ngh2.NGH2Error:
            return
        self._end()

    def reset(self, code: int) -> None:
        """Break the stream off."""
        if not self.done or not self.complete:
            self.done = True
            self._protocol.reset(self, code)

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token."""
        self._protocol.distrust(hold=hold)

    def _end(self) -> None:
        self.done = True
        self._writing_since = self._now()  # the client has to read it in time
        self._protocol.answered(self)

    def _now(self) -> float:
        return self._protocol.host.now()

    def _ask_for_body(self) -> None:
        protocol = self._protocol
        if not self._owes_continue():
            return
        try:
            protocol.engine.send_informational_response(self.request.stream, [(b":status", b"100")])
        except ngh2.NGH2Error:
            return
        protocol.host.wake()

    def _consumed(self, count: int) -> None:
        self._protocol.acknowledge(self.request.stream, count)
