"""Sends HTTP requests to a receiver over one connection, and says why there is no answer.

A TLS context is made anew after each failure, so a renewed certificate is used. No error shows what
the receiver sent.
"""

import os
import socket
import ssl
import time
from collections.abc import AsyncIterable, Sequence
from typing import NamedTuple

import httpcore
import trio

from crewgate import limits
from crewgate.config import ReceiverURL, UpstreamTLS
from crewgate.core.http_types import HeaderField
from crewgate.core.retry_after import retry_after_seconds
from crewgate.errors import ConfigurationError, ReceiverError
from crewgate.runtime.one_chunk_body import OneChunkBody
from crewgate.upstream.tls import verifying_context

_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
    trio.TooSlowError,
)
# What OpenSSL reads of an answer without TLS, by its version.
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}


class ReceiverAnswer(NamedTuple):
    """The answer of a receiver; `body` is its beginning if it is long."""

    status: int
    headers: Sequence[HeaderField]
    body: bytes

    def field(self, name: bytes) -> bytes:
        """Return the value of a field, whose name is in lower case; empty without it."""
        return next((value for key, value in self.headers if key.lower() == name), b"")

    @property
    def retry_seconds(self) -> float | None:
        """The seconds of Retry-After (RFC 9110, section 10.2.3); None if there is none."""
        text = self.field(b"retry-after").decode("ascii", "replace")
        seconds = retry_after_seconds(text, time.time())
        return None if seconds is None else min(seconds, limits.receiver_retry_seconds_max)


class ReceiverConnection:
    """One connection at a time to the host of a URL; `owner` names it in errors."""

    def __init__(self, owner: str, url: ReceiverURL, tls: UpstreamTLS) -> None:
        self._owner = owner
        self._url = url
        self._tls = tls
        name = tls.server_name
        self._extensions = {} if name is None else {"sni_hostname": name}
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def request(
        self,
        method: str,
        target: str,
        fields: Sequence[HeaderField],
        body: bytes,
        *,
        seconds: float = limits.receiver_request_seconds,
        answer_bytes_max: int = limits.receiver_response_bytes_max,
    ) -> ReceiverAnswer:
        """Return the answer, whatever its status is. Raises ReceiverError if there is none."""
        url = self._url
        try:
            pool = self._open()
            request = httpcore.Request(
                method,
                httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=target),
                headers=[
                    (b"host", url.authority.encode("ascii")),
                    (b"content-length", b"%d" % len(body)),
                    (b"accept-encoding", b"identity"),
                    (b"user-agent", b"crewgate"),
                    *fields,
                ],
                content=OneChunkBody(body),
                extensions=self._extensions,
            )
            with trio.fail_after(seconds):
                response = await pool.handle_async_request(request)
                try:
                    found = await _body(response, answer_bytes_max)
                finally:
                    await response.aclose()
        except ConfigurationError as error:
            raise ReceiverError(str(error), mend="correct the files of `tls`") from error
        except _FAILURES as error:
            await self.close()
            raise ReceiverError(_reason(error, seconds)) from error
        return ReceiverAnswer(response.status, response.headers, found)

    async def close(self) -> None:
        """Close the connection."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                await pool.aclose()

    def _open(self) -> httpcore.AsyncConnectionPool:
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=self._context(), max_connections=1, keepalive_expiry=60.0
            )
        return self._pool

    def _context(self) -> ssl.SSLContext | None:
        if self._url.scheme != "https":
            return None
        return verifying_context(self._owner, self._tls, "http/1.1")


async def _body(response: httpcore.Response, bytes_max: int) -> bytes:
    """Return the body, or its beginning if it is long."""
    found = bytearray()
    if isinstance(response.stream, AsyncIterable):
        async for piece in response.stream:
            found += piece[: bytes_max - len(found)]
    return bytes(found)


def _os_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return "it does not speak TLS; check scheme and port of `url`"
    if isinstance(error, ssl.SSLError | socket.gaierror):
        # Their numbers are not those of the operating system.
        return getattr(error, "verify_message", "") or error.strerror or ""
    # Trio's own text also has the address, as Python writes it.
    return os.strerror(error.errno) if error.errno else ""


def _reason(error: BaseException, seconds: float) -> str:
    """Return why there is no answer, without anything that the receiver sent."""
    if isinstance(error, trio.TooSlowError):
        return f"no answer within {seconds:g} s"
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and (reason := _os_reason(found)):
            return reason
        # Trio groups the errors of several addresses; one is enough.
        inner = found.exceptions[0] if isinstance(found, BaseExceptionGroup) else None
        found = inner or found.__cause__ or found.__context__
    if isinstance(error, httpcore.RemoteProtocolError):
        return "its answer is not HTTP/1.1, or ends early; check scheme and port of `url`"
    return type(error).__name__
