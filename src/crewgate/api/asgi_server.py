"""Runs an ASGI 3 application on the exchanges of Crewgate's own server.

So the control API and the gateway have one server, which authenticates the client and limits what
it sends. The application finds the client as `scope["state"]["peer"]`. Trailers and informational
responses (1xx) are not supported.
"""

from collections.abc import Coroutine, MutableMapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import trio

from crewgate.core.http_types import ASGIApplication, ASGIMessage, HeaderField


class ExchangeInterface(Protocol):
    """A request of the server, and the methods that respond to it."""

    request: Any
    peer: Any
    body_bytes_max: int
    complete: bool
    started: bool
    done: bool

    @property
    def buffered(self) -> int:
        """How many bytes of the body have arrived and are unread."""

    async def read(self) -> bytes:
        """Return the next chunk of the body, or b"" at its end."""

    def respond(self, status: int, headers: Sequence[HeaderField], body: bytes = b"") -> None:
        """Send a whole response."""

    def start(self, status: int, headers: Sequence[HeaderField], *, ends: bool = False) -> None:
        """Send the head of a response; its body follows unless `ends` is set."""

    async def send(self, data: bytes) -> None:
        """Send a chunk of the body."""

    def finish(self, data: bytes = b"") -> None:
        """End a streamed response."""


class ASGIServer:
    """Serves exchanges with `application`; `accept` is the handler of a listener.

    The server refuses a request's body over `body_bytes_max` with 413.
    """

    def __init__(self, application: ASGIApplication, body_bytes_max: int) -> None:
        self._application = application
        self._body_bytes_max = body_bytes_max

    def accept(self, exchange: ExchangeInterface) -> Coroutine[None, None, None]:
        """Return the coroutine of a request. The server cancels it if the client disconnects."""
        exchange.body_bytes_max = self._body_bytes_max
        return self._serve(exchange)

    async def _serve(self, exchange: ExchangeInterface) -> None:
        call = _ASGICall(exchange)
        await self._application(_scope(exchange), call.receive, call.send)
        # The server then resets the stream, or responds with 500 if nothing was sent.
        if not exchange.done:
            raise RuntimeError("the application has not ended its response")


class _ASGICall:
    """The `receive` and `send` of one request."""

    def __init__(self, exchange: ExchangeInterface) -> None:
        self._exchange = exchange
        self._read_all = False
        self._head: tuple[int, list[HeaderField]] | None = None

    async def receive(self) -> ASGIMessage:
        exchange = self._exchange
        if self._read_all:
            # The server cancels the whole call when the client disconnects.
            await trio.sleep_forever()
        data = await exchange.read()
        self._read_all = not data or (exchange.complete and not exchange.buffered)
        return {"type": "http.request", "body": data, "more_body": not self._read_all}

    async def send(self, message: ASGIMessage) -> None:
        exchange, kind = self._exchange, message["type"]
        if kind == "http.response.start" and self._head is None:
            self._head = (message["status"], _fields(message.get("headers", ())))
            return
        if kind != "http.response.body" or self._head is None:
            raise RuntimeError(f"the application sent an unexpected {kind!r}")
        status, fields = self._head
        body, more = bytes(message.get("body", b"")), message.get("more_body", False)
        if not more and not exchange.started:
            exchange.respond(status, fields, body)
            return
        is_head = exchange.request.method == b"HEAD"
        if not exchange.started:
            exchange.start(status, fields, ends=is_head)
        if is_head:
            # A response to HEAD has no body (RFC 9110, section 9.3.2).
            return
        if more:
            await exchange.send(body)
        else:
            exchange.finish(body)


def _fields(pairs: Sequence[Sequence[bytes]]) -> list[HeaderField]:
    """Return the fields with lower-case names; the server sets `content-length` itself."""
    fields = [(bytes(name).lower(), bytes(value)) for name, value in pairs]
    return [field for field in fields if field[0] != b"content-length"]


def _scope(exchange: ExchangeInterface) -> MutableMapping[str, Any]:
    request, peer = exchange.request, exchange.peer
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": request.version,
        "method": request.method.decode("ascii"),
        "scheme": "https",
        "path": unquote_to_bytes(request.path).decode("utf-8", "replace"),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": [(b"host", request.authority), *request.headers],
        "client": (peer.address, peer.port),
        "server": None,
        "state": {"peer": peer},
    }
