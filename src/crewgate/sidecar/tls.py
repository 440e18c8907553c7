"""A TLS client connection to the gateway; one task may send while another receives.

Trio's `SSLStream` tells close_notify from a cut connection only if it is strict in both directions.
Here, close_notify from the gateway is an end, and an end without it is an error.
"""

import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import trio

from crewgate import limits
from crewgate.errors import SidecarError
from crewgate.ssl_workarounds import forget_errors

T = TypeVar("T")
_CLOSED = "the gateway closed the connection"


class TLSStream:
    """TLS over `transport`. Every method raises SidecarError if the connection breaks."""

    def __init__(self, transport: trio.SocketStream, context: ssl.SSLContext, name: str) -> None:
        """Verify that the server is `name`, a DNS name or an IP address."""
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._flushing = trio.Lock()  # keeps the order of what OpenSSL writes

    async def shake_hands(self, protocol: str) -> None:
        """Do the TLS handshake for an ALPN protocol; the caller bounds the wait."""
        try:
            await self._with_input(self._object.do_handshake)
        except ssl.SSLError as error:
            # Send the alert, which tells the gateway why.
            await self._flush()
            raise _mapped(error) from error
        await self._flush()
        if self._object.selected_alpn_protocol() != protocol:
            raise SidecarError(f"the gateway does not speak {protocol}")

    async def receive_some(self) -> bytes:
        """Return at most `limits.receive_bytes`; empty after the gateway's close_notify."""
        try:
            return await self._with_input(partial(self._object.read, limits.receive_bytes))
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise _mapped(error) from error

    async def send_all(self, data: bytes) -> None:
        """Send `data`; return when the kernel has taken all of it."""
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise _mapped(error) from error
        await self._flush()

    async def aclose(self) -> None:
        """Send close_notify if that is possible soon, and close."""
        with trio.move_on_after(limits.linger_seconds_max) as scope:
            scope.shield = True
            try:
                self._object.unwrap()
            except (ssl.SSLError, ValueError):
                # The gateway's close_notify is not needed.
                forget_errors()
            with suppress(SidecarError):
                await self._flush()
        await trio.aclose_forcefully(self._transport)

    async def _with_input(self, operation: Callable[[], T]) -> T:
        """Return the result of an operation that may need more bytes from the gateway."""
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()

    async def _flush(self) -> None:
        async with self._flushing:
            data = self._outgoing.read()
            if data:
                try:
                    await self._transport.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise SidecarError(_CLOSED) from error

    async def _feed(self) -> None:
        try:
            data = await self._transport.receive_some(limits.receive_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise SidecarError(_CLOSED) from error
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def _mapped(error: ssl.SSLError) -> SidecarError:
    forget_errors()
    if isinstance(error, ssl.SSLEOFError):
        return SidecarError(_CLOSED)
    return SidecarError(f"TLS with the gateway: {error.reason or error}")
