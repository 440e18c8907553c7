"""Serves HTTP/1.1 without TLS: short requests, and responses that are in memory as a whole.

The admin listener and the OCSP socket use it. Calls of AI agents use `HTTP1` and `HTTP2`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import NamedTuple

import h11
import trio

from crewgate import limits
from crewgate.server.lingering_close import drain

_log = logging.getLogger(__name__)
_CHUNK = 4096
_NOT_HTTP = b"this is not valid HTTP/1.1\n"


class PlaintextRequest(NamedTuple):
    """A request.

    `path` has no query. Names in `headers` are in lower case; a comma joins the values of a
    repeated field (RFC 9110, section 5.3). `body` is None if it is invalid, or longer than the
    server reads.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = b""


class PlaintextResponse(NamedTuple):
    """A response: an HTTP status, a body, its media type, and further header fields."""

    status: int
    body: bytes
    media: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class PlaintextBounds(NamedTuple):
    """The bounds of a server; with `body_bytes_max` 0 it reads no body."""

    connections_max: int
    head_bytes_max: int
    body_bytes_max: int
    request_seconds: float  # from its first byte to its last
    response_seconds: float  # for the client to take it
    idle_seconds: float  # until the first byte of the next request


Respond = Callable[[PlaintextRequest], Awaitable[PlaintextResponse]]
Permit = Callable[[trio.socket.SocketType], AbstractContextManager[bool]]


def _permit_all(_: trio.socket.SocketType) -> AbstractContextManager[bool]:
    return nullcontext(enter_result=True)


class PlaintextHTTP1Server:
    """Answers the requests at one listening socket, with what `respond` returns.

    `name` stands for the connections in the log. `permit` says whether the server may serve a
    client, and its context lasts as long as the connection.

    If there are `connections_max` connections, the next one ends the one whose client the server
    has awaited for the longest time. So clients that send no whole request, or read no answer, can
    keep no other client out.
    """

    def __init__(
        self,
        listener: trio.SocketListener,
        respond: Respond,
        bounds: PlaintextBounds,
        *,
        name: str,
        permit: Permit = _permit_all,
    ) -> None:
        self._listener = listener
        self._respond = respond
        self._bounds = bounds
        self._name = name
        self._permit = permit
        self._open = 0
        # Of the connections that wait for their client, the one that has waited the longest first.
        self._waiting: dict[trio.CancelScope, None] = {}

    async def run(self) -> None:
        """Accept until cancelled."""
        async with self._listener, trio.open_nursery() as nursery:
            while True:
                try:
                    stream = await self._listener.accept()
                except OSError as error:  # no descriptor is free, or the client has gone
                    _log.warning("cannot accept an %s connection: %s", self._name, error.strerror)
                    await trio.sleep(limits.accept_pause_seconds)
                    continue
                nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            with self._permit(stream.socket) as is_permitted:
                if is_permitted and self._has_room():
                    await self._serve_permitted(stream)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError):
            return
        except Exception as error:  # noqa: BLE001 - one connection must not end the others
            _log.warning("closing an %s connection after an internal error: %r", self._name, error)
        finally:
            await trio.aclose_forcefully(stream)

    def _has_room(self) -> bool:
        """Make room for a connection, if there is none; return whether there is."""
        if self._open < self._bounds.connections_max:
            return True
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        del self._waiting[longest]
        longest.cancel()
        return True

    async def _serve_permitted(self, stream: trio.SocketStream) -> None:
        self._open += 1
        try:
            if await self._answer_all(stream):
                with trio.CancelScope() as scope:
                    self._waiting[scope] = None
                    await drain(stream.socket)
                self._waiting.pop(scope, None)
        finally:
            self._open -= 1

    async def _answer_all(self, stream: trio.SocketStream) -> bool:
        """Answer each request; return whether the client may still be reading the last answer."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._bounds.head_bytes_max)
        while True:
            try:
                request = await self._request(http, stream)
            except h11.RemoteProtocolError as error:
                if http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
                    return False
                request = PlaintextRequest("", "", {}, None)
                response = PlaintextResponse(error.error_status_hint, _NOT_HTTP)
            else:
                if request is None:
                    return False
                response = await self._respond(request)
            await self._send(http, stream, request, response)
            if http.our_state is not h11.DONE:
                return True
            http.start_next_cycle()

    async def _request(
        self, http: h11.Connection, stream: trio.SocketStream
    ) -> PlaintextRequest | None:
        """Return the next request; None if the client, the time or its place ended."""
        with trio.move_on_after(self._bounds.idle_seconds) as scope:

            async def receive() -> None:
                http.receive_data(await stream.receive_some(_CHUNK))
                request_ends = trio.current_time() + self._bounds.request_seconds
                scope.deadline = min(scope.deadline, request_ends)

            self._waiting[scope] = None
            try:
                while (head := http.next_event()) is h11.NEED_DATA:
                    await receive()
                if not isinstance(head, h11.Request):
                    return None
                request = _request(head, await self._body(http, receive))
                # Data that came together with the cancellation do not undo it.
                return request if scope in self._waiting else None
            finally:
                self._waiting.pop(scope, None)
        return None

    async def _body(
        self, http: h11.Connection, receive: Callable[[], Awaitable[None]]
    ) -> bytes | None:
        """Return the body; None if it is invalid, or longer than the server reads."""
        body = b""
        try:
            while len(body) <= self._bounds.body_bytes_max:
                event = http.next_event()
                if isinstance(event, h11.EndOfMessage):
                    return body
                if isinstance(event, h11.Data):
                    body += event.data
                elif event is h11.NEED_DATA and self._bounds.body_bytes_max:
                    await receive()
                else:
                    return None
        except h11.RemoteProtocolError:
            pass
        return None

    async def _send(
        self,
        http: h11.Connection,
        stream: trio.SocketStream,
        request: PlaintextRequest,
        response: PlaintextResponse,
    ) -> None:
        headers = [
            ("content-type", response.media),
            ("content-length", str(len(response.body))),
            *response.headers,
        ]
        if request.body is None:  # what follows may be the rest of the body
            headers.append(("connection", "close"))
        reason = HTTPStatus(response.status).phrase.encode()
        head = h11.Response(status_code=response.status, headers=headers, reason=reason)
        body = h11.Data(data=b"" if request.method == "HEAD" else response.body)
        parts = [http.send(event) or b"" for event in (head, body, h11.EndOfMessage())]
        with trio.fail_after(self._bounds.response_seconds) as scope:
            self._waiting[scope] = None
            try:
                await stream.send_all(b"".join(parts))
                # An answer that is taken together with the cancellation does not undo it.
                if scope not in self._waiting:
                    raise trio.TooSlowError
            finally:
                self._waiting.pop(scope, None)


def _request(head: h11.Request, body: bytes | None) -> PlaintextRequest:
    headers: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    path = head.target.partition(b"?")[0].decode("ascii", "replace")
    return PlaintextRequest(head.method.decode("ascii"), path, headers, body)
