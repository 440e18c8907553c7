"""Passes CMD's requests for an extension to the orchestrator, and its answers back to CMD.

CMD sends `POST /.crewgate/extension` to its socket, with the JSON that
`issuer/extensions/extension_endpoint` reads. The orchestrator decides, which may take as long as a
person needs.
"""

from collections.abc import Callable
from http import HTTPStatus

import trio

from crewgate import limits
from crewgate.core import problems
from crewgate.issuer.processes.sidecar_messages import (
    ExtensionRequestMessage,
    ExtensionResponseMessage,
)
from crewgate.server.exchange import Exchange

EXTENSION_PATH = b"/.crewgate/extension"


class ExtensionRelay:
    """The requests that wait for the orchestrator.

    `send` gives the orchestrator a message without waiting, or raises trio.WouldBlock.
    """

    def __init__(self, send: Callable[[ExtensionRequestMessage], None]) -> None:
        self._send = send
        self._last = 0
        self._waiting: dict[int, Exchange] = {}

    def start(self, exchange: Exchange) -> None:
        """Take a request of CMD for the path of extensions."""
        if exchange.request.method != b"POST":
            fields = [(b"allow", b"POST")]
            exchange.respond(HTTPStatus.METHOD_NOT_ALLOWED, fields)
        elif len(self._waiting) >= limits.sidecar_extensions_max:
            self._refuse(exchange)
        else:
            exchange.body_bytes_max = limits.extension_request_bytes_max
            self._last += 1
            self._waiting[self._last] = exchange
            exchange.watcher = request = _Request(exchange, self, self._last)
            request.body_arrived()

    def ask(self, number: int, body: bytes) -> None:
        """Send the whole body of a request to the orchestrator."""
        try:
            self._send(ExtensionRequestMessage(number, body))
        except trio.WouldBlock:
            self._refuse(self._waiting.pop(number))

    def answer(self, message: ExtensionResponseMessage) -> None:
        """Give CMD the orchestrator's answer, unless CMD has left."""
        exchange = self._waiting.pop(message.id, None)
        if exchange is not None:
            exchange.watcher = None
            fields = [(b"content-type", message.media_type.encode())]
            exchange.respond(message.status, fields, message.body)

    def _refuse(self, exchange: Exchange) -> None:
        exchange.watcher = None
        exchange.respond(*problems.of_wire(429, exchange.request.headers))

    def forget(self, number: int) -> None:
        """Drop a request that has ended."""
        self._waiting.pop(number, None)


class _Request:
    """Collects the body of one request: an `ExchangeCallbacks`."""

    def __init__(self, exchange: Exchange, relay: ExtensionRelay, number: int) -> None:
        self._exchange, self._relay, self._number = exchange, relay, number
        self._body = b""
        self._is_sent = False

    def body_arrived(self) -> None:
        """Take what has arrived; send it on once it is all."""
        self._body += self._exchange.take()
        if not self._exchange.complete:
            self._exchange.want_body()
        elif not self._is_sent:
            self._is_sent = True
            self._relay.ask(self._number, self._body)

    def drained(self) -> None:
        """Do nothing: the answer is one piece."""

    def too_large(self) -> None:
        """Drop the request; the server answers 413."""
        self._relay.forget(self._number)

    def lost(self) -> None:
        """Drop the request, because CMD has left."""
        self._relay.forget(self._number)
