"""One connection of CMD, carried to the gateway over TLS: bytes as they come, both ways.

Reads the first bytes to know which HTTP this is, since TLS wants that said in the handshake (ALPN),
and translates the scheme of HTTP/2; nothing else is looked at. What one side does not take, the
other is not asked for.

CMD may half-close: the gateway takes the end of a client for the end of its calls, so it is not
told, and goes on to answer. That CMD is gone altogether is another thing, is seen at once, and ends
the connection to the gateway with its calls.
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
    """Carry it until either side is done; SidecarError if the gateway never answered.

    `dial` opens a connection for the protocol that it is given. The caller closes `local`.
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
            "the gateway ended a connection that it had not answered: `crewgate audit` says why, "
            "where it refused our certificate"
        )


async def _first(local: trio.SocketStream) -> bytes:
    """Enough to tell the two protocols apart; less only if no more comes."""
    data = b""
    while len(data) < len(PREFACE) and PREFACE.startswith(data):
        more = await local.receive_some(limits.receive_bytes)
        if not more:
            break
        data += more
    return data


class _Tunnel:
    """The two ends, and how it went."""

    def __init__(self, local: trio.SocketStream, remote: TLSStream) -> None:
        self._local = local
        self._remote = remote
        self.has_answered = self.is_over = False
        self.failure: SidecarError | None = None

    async def up(self, translate: Callable[[bytes], bytes], data: bytes) -> None:
        """From CMD to the gateway, until CMD sends no more."""
        try:
            while data:
                await self._remote.send_all(translate(data))
                data = await self._local.receive_some(limits.receive_bytes)
        except SidecarError as error:
            self.failure = self.failure or error  # an alert that says more may be on its way down
        except trio.BrokenResourceError:
            return

    async def down(self, scope: trio.CancelScope) -> None:
        """From the gateway to CMD; its end is the end, after a moment for CMD to close too."""
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
        """Until CMD has closed the connection, and not just its sending side (EPOLLHUP, unix(7)).

        A descriptor of its own, since the loop is asked for what can be read or written, and a
        socket that was half-closed can always be read.
        """
        with select.epoll() as hung_up:
            hung_up.register(self._local.socket.fileno(), 0)
            await trio.lowlevel.wait_readable(hung_up.fileno())
        scope.cancel()
