"""Turns what an application writes to one HTTP/2 stream into calls of its engine.

The engine raises an exception if the stream is closed; that ends the writing and is no internal
error. This module knows neither frames nor events.
"""

import contextlib
from collections.abc import Sequence
from typing import Protocol

import ngh2

from crewgate._datapath.body_relay import BodyRelay
from crewgate._datapath.http2_protocol import HTTP2Protocol
from crewgate.core.http_types import HeaderField
from crewgate.errors import PeerError
from crewgate.server.exchange import BODYLESS, Exchange, ExchangeWork
from crewgate.server.http2_settings import ServerEngine
from crewgate.server.protocol import ConnectionHost
from crewgate.server.request import Request, is_dated


class HTTP2Owner(Protocol):
    """The parts of `HTTP2` that a stream uses."""

    host: ConnectionHost
    engine: ServerEngine
    blocked: "set[HTTP2Exchange]"

    def reset(self, exchange: "HTTP2Exchange", code: int) -> None:
        """Send RST_STREAM with `code`; do nothing if the stream is closed."""

    def is_full(self, stream: int) -> bool:
        """Return whether no more of a response may be queued."""

    def acknowledge(self, stream: int, count: int) -> None:
        """Open the windows of the stream and of the connection by `count` bytes."""

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token; if `hold`, stop reading."""

    def answered(self, exchange: "HTTP2Exchange") -> None:
        """Go on after a complete response."""


class HTTP2Exchange(Exchange):
    """One request over HTTP/2, on a stream of its own, and its response."""

    __slots__ = ("_protocol", "discarded")

    def __init__(self, request: Request, protocol: HTTP2Owner) -> None:
        super().__init__(request, protocol.host.peer)
        self._protocol = protocol
        self.discarded = 0  # bytes of the body that arrived after the response

    def inform(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Send an informational response."""
        if not self._may_inform(status):
            return
        fields = [(b":status", b"%d" % status), *headers]
        with contextlib.suppress(ngh2.NGH2Error):
            self._protocol.engine.send_informational_response(self.request.stream, fields)
        self._protocol.host.wake()

    def respond(self, status: int, headers: Sequence[HeaderField], body: bytes = b"") -> None:
        """Send a whole response."""
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
        ends_with_head = not body or self.request.method == b"HEAD" or status in BODYLESS
        try:
            protocol.engine.send_response(stream, fields, end_stream=ends_with_head)
            if not ends_with_head:
                protocol.engine.send_data(stream, body, end_stream=True)
        except ngh2.NGH2Error:
            return
        self._end()

    def start(self, status: int, headers: Sequence[HeaderField], *, ends: bool = False) -> None:
        """Send the head of a streamed response."""
        if self.done:
            raise PeerError("the client has disconnected")
        self.started = True
        protocol = self._protocol
        fields = [(b":status", b"%d" % status), *headers]
        if not is_dated(headers):
            fields.append((b"date", protocol.host.date()))
        try:
            protocol.engine.send_response(self.request.stream, fields, end_stream=ends)
        except ngh2.NGH2Error as error:
            self.lose()
            raise PeerError("the client has disconnected") from error
        if ends:
            self._end()
        else:
            protocol.host.wake()

    def push(self, data: bytes) -> bool:
        """Queue a piece; return False once `limits.buffer_bytes_max` or more are queued."""
        if self.done:
            raise PeerError("the client has disconnected")
        protocol = self._protocol
        try:
            protocol.engine.send_data(self.request.stream, data)
        except ngh2.NGH2Error as error:
            self.lose()
            raise PeerError("the client has disconnected") from error
        protocol.host.wake()
        if not protocol.is_full(self.request.stream):
            return True
        protocol.blocked.add(self)
        self._note_full()
        return False

    def relay_to(self, body: BodyRelay) -> bool:
        """Let `body` send a response that has begun; return False if only `push` can send it."""
        protocol = self._protocol
        return isinstance(protocol, HTTP2Protocol) and body.open(protocol, self.request.stream)

    def finish(self, data: bytes = b"", trailers: Sequence[HeaderField] = ()) -> None:
        """End the response."""
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
        """Reset the stream with `code`."""
        if not self.done or not self.complete:
            self.done = True
            self._protocol.reset(self, code)

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token; if `hold`, stop reading."""
        self._protocol.distrust(hold=hold)

    def _end(self) -> None:
        self.done = True
        self._writing_since = self._now()  # the client must read the response in time
        self._protocol.answered(self)

    def proceed(self, work: ExchangeWork) -> None:
        """Do a later part of the application's work, inside the barrier of this request."""
        self._protocol.host.run(self, work)

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
