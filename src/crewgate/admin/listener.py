"""Serves HTTP/1.1 without TLS and without callers: anybody who reaches the listener may read.

A web page that the browser of a local user shows must not read, so the listener refuses requests
with an Origin. At a loopback address, it also refuses a Host of another name, because a page can
have its own name resolve to 127.0.0.1 (DNS rebinding).
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from typing import NamedTuple

import h11
import trio

from crewgate import limits

_log = logging.getLogger(__name__)
_CHUNK = 4096


class AdminAnswer(NamedTuple):
    """An answer to a request: an HTTP status, a body, and its media type."""

    status: int
    body: bytes
    media: str = "text/plain; charset=utf-8"


Respond = Callable[[str], Awaitable[AdminAnswer]]


class AdminListener:
    """Answers GET and HEAD at one listening socket: `respond` gets the path without the query.

    If there are `limits.admin_connections_max` connections, the next one ends the one whose request
    the listener has awaited for the longest time. So clients that send no whole request can keep
    no prober out.
    """

    def __init__(self, listener: trio.SocketListener, respond: Respond, *, is_local: bool) -> None:
        """`is_local`: the socket is at a loopback address, so a Host must name this machine."""
        self._listener = listener
        self._respond = respond
        self._is_local = is_local
        self._open = 0
        # Of the connections without a whole request, the one that has waited the longest first.
        self._waiting: dict[trio.CancelScope, None] = {}

    async def run(self) -> None:
        """Accept until cancelled."""
        async with self._listener, trio.open_nursery() as nursery:
            while True:
                try:
                    stream = await self._listener.accept()
                except OSError as error:  # no descriptor is free, or the client has gone
                    _log.warning("cannot accept an admin connection: %s", error.strerror)
                    await trio.sleep(limits.accept_pause_seconds)
                    continue
                if self._has_room():
                    self._open += 1
                    nursery.start_soon(self._serve, stream)
                else:
                    await trio.aclose_forcefully(stream)

    def _has_room(self) -> bool:
        """Make room for a connection, if there is none; return whether there is."""
        if self._open < limits.admin_connections_max:
            return True
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        del self._waiting[longest]
        longest.cancel()
        return True

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            await self._answer_all(stream)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError):
            return
        except Exception as error:  # noqa: BLE001 - one connection must not end the others
            _log.warning("closing an admin connection after an internal error: %r", error)
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _answer_all(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.admin_head_bytes_max)
        while True:
            try:
                request = await self._request(http, stream)
            except h11.RemoteProtocolError as error:
                if http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    answer = AdminAnswer(error.error_status_hint, b"this is not valid HTTP/1.1\n")
                    await _send(http, stream, answer, closes=True)
                return
            if request is None:
                return
            refusal = self._refusal(request)
            answer = refusal or await self._respond(_path(request))
            # A body, which no request needs, is not read: the connection ends after the answer.
            has_body = _has_body(http)
            is_head = request.method == b"HEAD"
            await _send(http, stream, answer, closes=has_body, is_head=is_head)
            if has_body or http.our_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _request(self, http: h11.Connection, stream: trio.SocketStream) -> h11.Request | None:
        """Return the head of the next request; None if the client, the time or its place ended."""
        with trio.move_on_after(limits.admin_idle_seconds) as scope:
            self._waiting[scope] = None
            try:
                while (event := http.next_event()) is h11.NEED_DATA:
                    http.receive_data(await stream.receive_some(_CHUNK))
                    head_ends = trio.current_time() + limits.admin_head_seconds
                    scope.deadline = min(scope.deadline, head_ends)
                # Data that came together with the cancellation do not undo it.
                return event if isinstance(event, h11.Request) and scope in self._waiting else None
            finally:
                self._waiting.pop(scope, None)
        return None

    def _refusal(self, request: h11.Request) -> AdminAnswer | None:
        fields = dict(request.headers)
        if request.method not in {b"GET", b"HEAD"}:
            return AdminAnswer(405, b"this listener answers GET and HEAD only\n")
        if b"origin" in fields:
            return AdminAnswer(403, b"web pages may not read this (the request has an Origin)\n")
        if self._is_local and not _names_this_machine(fields.get(b"host", b"localhost")):
            text = b"name this machine in the Host header field: localhost, 127.0.0.1 or [::1]\n"
            return AdminAnswer(421, text)
        return None


def _names_this_machine(host: bytes) -> bool:
    """Return whether a Host (RFC 9110, section 7.2) is `localhost` or a loopback address."""
    name = host.decode("ascii", "replace").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(name).is_loopback
    return False


def _has_body(http: h11.Connection) -> bool:
    """Return whether a body, valid or not, follows the head that was just read."""
    try:
        return not isinstance(http.next_event(), h11.EndOfMessage)
    except h11.RemoteProtocolError:
        return True


def _path(request: h11.Request) -> str:
    return request.target.partition(b"?")[0].decode("ascii", "replace")


async def _send(
    http: h11.Connection,
    stream: trio.SocketStream,
    answer: AdminAnswer,
    *,
    closes: bool,
    is_head: bool = False,
) -> None:
    headers = [
        ("content-type", answer.media),
        ("content-length", str(len(answer.body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    if answer.status == 405:  # noqa: PLR2004 - RFC 9110, section 15.5.6
        headers.append(("allow", "GET, HEAD"))
    if closes:
        headers.append(("connection", "close"))
    parts = [
        http.send(
            h11.Response(
                status_code=answer.status,
                headers=headers,
                reason=HTTPStatus(answer.status).phrase.encode(),
            )
        ),
        http.send(h11.Data(data=b"" if is_head else answer.body)),
        http.send(h11.EndOfMessage()),
    ]
    with trio.fail_after(limits.admin_head_seconds):
        await stream.send_all(b"".join(part for part in parts if part))
