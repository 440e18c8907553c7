"""An ASGI 3 application on the exchanges of our own edge, so that both faces have one server.

The edge has proved the peer and bounds all that it sends; the application finds the peer as
`scope["state"]["peer"]`. Trailers and informational answers are not carried. Knows no routes.
"""

from collections.abc import Coroutine, MutableMapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import trio

from crewgate.core.http import ASGIApplication, ASGIMessage, HeaderField


class AdapterRequest(Protocol):
    """The head of a request, as the edge made it."""

    method: bytes
    path: bytes
    query: bytes
    authority: bytes
    headers: list[HeaderField]
    version: str


class AdapterExchange(Protocol):
    """A request of the edge, and how to answer it."""

    request: Any
    peer: Any
    body_bytes_max: int
    complete: bool
    started: bool
    done: bool

    @property
    def buffered(self) -> int:
        """Bytes of the body that have arrived and were not read."""

    async def read(self) -> bytes:
        """Return the next piece of the body, b"" at its end."""

    def respond(self, status: int, headers: Sequence[HeaderField], body: bytes = b"") -> None:
        """Answer in full."""

    def start(self, status: int, headers: Sequence[HeaderField], *, ends: bool = False) -> None:
        """Send the head of an answer whose body follows."""

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""

    def finish(self, data: bytes = b"") -> None:
        """End a streamed answer."""


class ASGIAdapter:
    """Serves exchanges with `application`; `accept` is what a listener is given.

    `body_bytes_max` bounds a request's body: the edge refuses more with 413.
    """

    def __init__(self, application: ASGIApplication, body_bytes_max: int) -> None:
        self._application = application
        self._body_bytes_max = body_bytes_max

    def accept(self, exchange: AdapterExchange) -> Coroutine[None, None, None]:
        """Return the work of a request; its client's going cancels it."""
        exchange.body_bytes_max = self._body_bytes_max
        return self._serve(exchange)

    async def _serve(self, exchange: AdapterExchange) -> None:
        turn = _ASGICall(exchange)
        await self._application(_scope(exchange), turn.receive, turn.send)
        if not exchange.done:  # the edge breaks it off, or answers 500 where nothing was sent
            raise RuntimeError("the application has not ended its answer")


class _ASGICall:
    """One request's `receive` and `send`."""

    def __init__(self, exchange: AdapterExchange) -> None:
        self._exchange = exchange
        self._read_all = False
        self._head: tuple[int, list[HeaderField]] | None = None

    async def receive(self) -> ASGIMessage:
        exchange = self._exchange
        if self._read_all:
            await trio.sleep_forever()  # the edge cancels the whole call when its client goes
        data = await exchange.read()
        self._read_all = not data or (exchange.complete and not exchange.buffered)
        return {"type": "http.request", "body": data, "more_body": not self._read_all}

    async def send(self, message: ASGIMessage) -> None:
        exchange, what = self._exchange, message["type"]
        if what == "http.response.start" and self._head is None:
            self._head = (message["status"], _fields(message.get("headers", ())))
            return
        if what != "http.response.body" or self._head is None:
            raise RuntimeError(f"an application sent {what!r} where it is not expected")
        status, fields = self._head
        body, more = bytes(message.get("body", b"")), message.get("more_body", False)
        if not more and not exchange.started:
            exchange.respond(status, fields, body)
            return
        is_head = exchange.request.method == b"HEAD"
        if not exchange.started:
            exchange.start(status, fields, ends=is_head)
        if is_head:
            return  # whatever the application goes on to say (RFC 9110 §9.3.2)
        if more:
            await exchange.send(body)
        else:
            exchange.finish(body)


def _fields(pairs: Sequence[Sequence[bytes]]) -> list[HeaderField]:
    """Lower-case names; the length is the edge's to say where it knows the whole body."""
    fields = [(bytes(name).lower(), bytes(value)) for name, value in pairs]
    return [field for field in fields if field[0] != b"content-length"]


def _scope(exchange: AdapterExchange) -> MutableMapping[str, Any]:
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
