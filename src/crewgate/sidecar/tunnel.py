"""Forwards one connection of CMD to the gateway over TLS, in both directions.

The first bytes show which HTTP version CMD uses, because the TLS handshake names it (ALPN). The
scheme of HTTP/2 requests is rewritten; everything else passes unchanged. A side that does not read
stops the other side's reads (backpressure).

A half-close by CMD is not forwarded: the gateway would end the open calls. The gateway goes on to
answer. When CMD closes the whole connection, the connection to the gateway ends at once, and its
calls with it.
"""

import select
from collections.abc import Awaitable, Callable

import trio

from crewgate import limits
from crewgate.errors import SidecarError
from crewgate.sidecar.credentials import HTTP1, HTTP2
from crewgate.sidecar.h2_scheme_rewrite import PREFACE, SchemeRewriter
from crewgate.sidecar.tls import TLSStream

Dial = Callable[[str], Awaitable[TLSStream]]


async def carry(local: trio.SocketStream, dial: Dial) -> None:
    """Forward until either side is done; SidecarError if the gateway never answered.

    `dial` opens a connection for a protocol. The caller closes `local`.
    """
    with trio.move_on_after(limits.idle_seconds_max) as waiting:
        first = await _first(local)
    if waiting.cancelled_caught or not first:
        return
    is_http2 = first.startswith(PREFACE)
    remote = await dial(HTTP2 if is_http2 else HTTP1)
    tunnel = _Tunnel(local, remote)
    translate = SchemeRewriter().translate if is_http2 else bytes
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tunnel.up, translate, first)
            nursery.start_soon(tunnel.down, nursery.cancel_scope)
            nursery.start_soon(tunnel.watch, nursery.cancel_scope)
    finally:
        await remote.aclose()
    if tunnel.failure is not None and not tunnel.has_answered:
        raise tunnel.failure
    if tunnel.is_over and not tunnel.has_answered:
        raise SidecarError(
            "the gateway ended a connection without an answer; if it refused our certificate, "
            "`crewgate audit` says why"
        )


async def _first(local: trio.SocketStream) -> bytes:
    """Return enough bytes to tell the two protocols apart; fewer if CMD sends no more."""
    data = b""
    while len(data) < len(PREFACE) and PREFACE.startswith(data):
        more = await local.receive_some(limits.receive_bytes)
        if not more:
            break
        data += more
    return data


class _Tunnel:
    def __init__(self, local: trio.SocketStream, remote: TLSStream) -> None:
        self._local = local
        self._remote = remote
        self.has_answered = self.is_over = False
        self.failure: SidecarError | None = None

    async def up(self, translate: Callable[[bytes], bytes], data: bytes) -> None:
        """Forward from CMD to the gateway, until CMD sends no more."""
        try:
            while data:
                await self._remote.send_all(translate(data))
                data = await self._local.receive_some(limits.receive_bytes)
        except SidecarError as error:
            # Do not cancel: an alert that says more may be on its way from the gateway.
            self.failure = self.failure or error
        except trio.BrokenResourceError:
            return

    async def down(self, scope: trio.CancelScope) -> None:
        """Forward from the gateway to CMD; at the end, give CMD a moment to close, then cancel."""
        try:
            while data := await self._remote.receive_some():
                self.has_answered = True
                await self._local.send_all(data)
            self.is_over = True
            await self._local.send_eof()
            await trio.sleep(limits.run_linger_seconds_max)
        except SidecarError as error:
            self.failure = error
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    async def watch(self, scope: trio.CancelScope) -> None:
        """Cancel when CMD has closed both directions, not only its own (EPOLLHUP, unix(7)).

        An epoll of its own, since Trio can wait only for readable or writable, and a half-closed
        socket is always readable.
        """
        with select.epoll() as hung_up:
            hung_up.register(self._local.socket.fileno(), 0)
            await trio.lowlevel.wait_readable(hung_up.fileno())
        scope.cancel()
