"""A TLS connection to the gateway, as a client, whose two directions are two tasks' business.

Trio's own stream would do but for one thing: it tells a peer that says goodbye from one that is cut
off only when it is strict about both sides. Here an end that is announced is an end, and one that
is not is an error. Knows no HTTP.
"""

import ssl
from contextlib import suppress

import trio

from crewgate import limits
from crewgate.errors import SidecarError
from crewgate.ssl_workarounds import forget_errors


class TLSStream:
    """TLS over `transport`; one task may send while another receives.

    Every method raises SidecarError if the connection is broken, or is refused.
    """

    def __init__(self, transport: trio.SocketStream, context: ssl.SSLContext, name: str) -> None:
        """Verify that the server is `name`, a DNS name or an IP address."""
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._turn = trio.Lock()  # what OpenSSL wrote first leaves first

    @property
    def protocol(self) -> str | None:
        """What both sides speak (ALPN)."""
        return self._object.selected_alpn_protocol()

    async def shake_hands(self) -> None:
        """Prove who we are, and that they are the gateway; the caller bounds the wait."""
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError as error:
                await self._flush()  # the alert says why
                raise _mapped(error) from error
            else:
                await self._flush()
                return

    async def receive_some(self) -> bytes:
        """What came, at most `limits.receive_bytes`; nothing once the gateway has said goodbye."""
        while True:
            try:
                data = self._object.read(limits.receive_bytes)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise _mapped(error) from error
            else:
                return data

    async def send_all(self, data: bytes) -> None:
        """Send it; returns when the kernel has taken all."""
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise _mapped(error) from error
        await self._flush()

    async def aclose(self) -> None:
        """Say goodbye if that can be done at once, and close."""
        with trio.move_on_after(limits.linger_seconds_max) as scope:
            scope.shield = True
            try:
                self._object.unwrap()
            except (ssl.SSLError, ValueError):  # theirs need not come
                forget_errors()
            with suppress(SidecarError):
                await self._flush()
        await trio.aclose_forcefully(self._transport)

    async def _flush(self) -> None:
        async with self._turn:
            data = self._outgoing.read()
            if data:
                try:
                    await self._transport.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise SidecarError("the gateway has hung up") from error

    async def _feed(self) -> None:
        try:
            data = await self._transport.receive_some(limits.receive_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise SidecarError("the gateway has hung up") from error
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def _mapped(error: ssl.SSLError) -> SidecarError:
    forget_errors()
    if isinstance(error, ssl.SSLEOFError):
        return SidecarError("the gateway has hung up")
    return SidecarError(f"TLS with the gateway: {error.reason or error}")
