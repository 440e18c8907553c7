"""Sends a request body that is still arriving to the tool, piece by piece."""

from collections.abc import Sequence

from crewgate.core.http_types import HeaderField
from crewgate.core.reasons import Reason
from crewgate.gateway.tool_route import ToolRoute
from crewgate.server.exchange import Exchange
from crewgate.upstream.interfaces import RequestStream


class RequestBodyUpload:
    """The body of one call, from its exchange to its stream upstream.

    `has_sent`: some of the body has gone upstream, so the request cannot be repeated. `is_over`:
    all of it has, with its trailers. `is_blocked`: the stream takes no more for now.
    """

    __slots__ = ("_entry", "_exchange", "has_sent", "is_blocked", "is_over")

    def __init__(self, exchange: Exchange, entry: ToolRoute) -> None:
        self._exchange = exchange
        self._entry = entry
        self.has_sent = False
        self.is_over = False
        self.is_blocked = False

    def send(self, stream: RequestStream) -> None:
        """Send all that has arrived and that the stream takes.

        Raises:
            PeerError: The client has gone.
            InvalidRequestError: A trailer claims to be the gateway's.
        """
        if self.is_over or self.is_blocked:
            return
        exchange = self._exchange
        while data := exchange.take():
            self.has_sent = True
            if not stream.send_body(data):
                self.is_blocked = True
                return
        if not exchange.complete:
            exchange.want_body()
            return
        stream.end_body(self.trailers())
        self.has_sent = self.is_over = True

    def trailers(self) -> Sequence[HeaderField]:
        """Return the trailers that go upstream; none of them holds the caller's token.

        Raises:
            InvalidRequestError: A trailer claims to be the gateway's.
        """
        exchange, entry = self._exchange, self._entry
        if not exchange.trailers:
            return ()
        found = entry.tokens.find(exchange.request.headers, b"")
        shown = b"" if isinstance(found, Reason) else found.token
        return entry.fields.filter.kept(exchange.trailers, shown)
