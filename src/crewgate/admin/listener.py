"""Serves HTTP/1.1 without TLS and without callers: anybody who reaches the listener may read.

A web page that the browser of a local user shows must not read, so the listener refuses requests
with an Origin. At a loopback address, it also refuses a Host of another name, because a page can
have its own name resolve to 127.0.0.1 (DNS rebinding).
"""

from contextlib import suppress
from ipaddress import ip_address

import trio

from crewgate import limits
from crewgate.server.plaintext_http1 import (
    PlaintextBounds,
    PlaintextHTTP1Server,
    PlaintextRequest,
    PlaintextResponse,
    Respond,
)

_HEADERS = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))


class AdminListener:
    """Answers GET and HEAD at one listening socket, with what `respond` returns."""

    def __init__(self, listener: trio.SocketListener, respond: Respond, *, is_local: bool) -> None:
        """`is_local`: the socket is at a loopback address, so a Host must name this machine."""
        bounds = PlaintextBounds(
            connections_max=limits.admin_connections_max,
            head_bytes_max=limits.admin_head_bytes_max,
            body_bytes_max=0,
            request_seconds=limits.admin_head_seconds,
            response_seconds=limits.admin_head_seconds,
            idle_seconds=limits.admin_idle_seconds,
        )
        self._server = PlaintextHTTP1Server(listener, self._answer, bounds, name="admin")
        self._respond = respond
        self._is_local = is_local

    async def run(self) -> None:
        """Accept until cancelled."""
        await self._server.run()

    async def _answer(self, request: PlaintextRequest) -> PlaintextResponse:
        response = self._refusal(request) or await self._respond(request)
        return response._replace(headers=response.headers + _HEADERS)

    def _refusal(self, request: PlaintextRequest) -> PlaintextResponse | None:
        if request.method not in {"GET", "HEAD"}:
            text = b"this listener answers GET and HEAD only\n"
            # RFC 9110, section 15.5.6: a 405 names the methods.
            return PlaintextResponse(405, text, headers=(("allow", "GET, HEAD"),))
        if "origin" in request.headers:
            text = b"web pages may not read this (the request has an Origin)\n"
            return PlaintextResponse(403, text)
        if self._is_local and not _names_this_machine(request.headers.get("host", "localhost")):
            text = b"name this machine in the Host header field: localhost, 127.0.0.1 or [::1]\n"
            return PlaintextResponse(421, text)
        return None


def _names_this_machine(host: str) -> bool:
    """Return whether a Host (RFC 9110, section 7.2) is `localhost` or a loopback address."""
    name = host.lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(name).is_loopback
    return False
