"""HTTP/2 without a socket: ngh2 as a client, the protocol under test, a perfect wire between."""

from collections.abc import Iterable
from contextlib import suppress

import ngh2
from fake_host import FakeHost

from crewgate.server.http2 import HTTP2

HEAD = [(b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a")]
GET = [(b":method", b"GET"), *HEAD]
POST = [(b":method", b"POST"), *HEAD]


class Pair:
    """A client and the protocol; `events` are what the client has heard."""

    def __init__(self) -> None:
        self.host = FakeHost()
        self.protocol = HTTP2(self.host)
        self.client = ngh2.Connection(ngh2.Role.CLIENT)
        self.client.initiate_connection()
        self.events: list[ngh2.Event] = []
        self.pump()

    def pump(self) -> None:
        """Move bytes until there are none."""
        while True:
            up, down = self.client.data_to_send(), b""
            if up:
                self.protocol.receive(up)
            while piece := self.protocol.bytes_to_send():
                down += piece
            more = self.protocol.sent_all()
            if down:
                with suppress(ngh2.ConnectionStateError):  # a client that has left after a GOAWAY
                    self.client.receive_data(down)
            self.events += self.client.events()
            if not up and not down and not more:
                return

    def ask(self, fields: Iterable[tuple[bytes, bytes]], *, ended: bool = True) -> int:
        """Send a request; its stream."""
        stream = self.client.send_request(fields, end_stream=ended)
        self.pump()
        return stream

    def of(self, kind: type) -> list:
        """The client's events of one kind."""
        return [event for event in self.events if type(event) is kind]
