"""Posts batches to a receiver over HTTP, and reads from its answers whether to try again.

A TLS context is made anew after each failure, so a renewed certificate is used; the credential is
read for each request. No error shows a credential or what the receiver sent, except a short message
of printable characters.
"""

import os
import socket
import ssl
import time
from collections.abc import AsyncIterable, Sequence
from http import HTTPStatus

import httpcore
import trio

from crewgate import limits
from crewgate.config import CredentialConfig, ReceiverURL, UpstreamTLS
from crewgate.core.http_types import HeaderField
from crewgate.core.retry_after import retry_after_seconds
from crewgate.core.terminal_text import printable
from crewgate.errors import ConfigurationError, ReceiverError, ReceiverRefusedError
from crewgate.runtime.one_chunk_body import OneChunkBody
from crewgate.upstream.credential import credential_field
from crewgate.upstream.tls import verifying_context

_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
    trio.TooSlowError,
)
# The body is the reason; the others may pass, or an operator mends them.
_REFUSED: frozenset[int] = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
_MENDS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "; check `{key}`",
    HTTPStatus.FORBIDDEN: "; check `{key}`",
    HTTPStatus.NOT_FOUND: "; check the path of `url`",
    HTTPStatus.GONE: "; check the path of `url`",
    HTTPStatus.METHOD_NOT_ALLOWED: "; check the path of `url`",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "; it does not read this format or `encoding`",
}
# What OpenSSL reads of an answer without TLS, by its version.
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}


class HTTPPoster:
    """Posts to the URL of a receiver over one connection at a time; `owner` names it in errors."""

    def __init__(
        self,
        owner: str,
        url: ReceiverURL,
        media: bytes,
        *,
        tls: UpstreamTLS,
        credential: CredentialConfig | None = None,
        secret_key: str = "credential",
    ) -> None:
        """`secret_key` is the key of the configuration that names the secret."""
        self._owner = owner
        self._secret_key = secret_key
        self._url = url
        self._target = httpcore.URL(
            scheme=url.scheme, host=url.host, port=url.port, target=url.path or "/"
        )
        self._media = media
        self._tls, self._credential = tls, credential
        name = tls.server_name
        self._extensions = {} if name is None else {"sni_hostname": name}
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def post(
        self, body: bytes, more: Sequence[HeaderField] = (), secret: bytes = b""
    ) -> bytes:
        """Return the body of a good answer; the request has `more` header fields.

        Errors do not show a `secret` that the request has. Raises ReceiverError or
        ReceiverRefusedError.
        """
        try:
            pool, fields = self._open(), self._fields(body, more)
            with trio.fail_after(limits.receiver_request_seconds):
                return await self._post(pool, fields, body, secret)
        except ConfigurationError as error:
            raise ReceiverError(str(error)) from error
        except _FAILURES as error:
            await self.close()
            raise ReceiverError(_reason(error)) from error

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

    def _fields(self, body: bytes, more: Sequence[HeaderField]) -> list[HeaderField]:
        fields = [
            (b"host", self._url.authority.encode("ascii")),
            (b"content-type", self._media),
            (b"content-length", b"%d" % len(body)),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"crewgate"),
            *more,
        ]
        if self._credential is not None:
            fields.append(credential_field(self._owner, self._credential))
        return fields

    async def _post(
        self,
        pool: httpcore.AsyncConnectionPool,
        fields: list[HeaderField],
        body: bytes,
        secret: bytes,
    ) -> bytes:
        request = httpcore.Request(
            "POST",
            self._target,
            headers=fields,
            content=OneChunkBody(body),
            extensions=self._extensions,
        )
        response = await pool.handle_async_request(request)
        try:
            found = self._without_secret(await _body(response), fields, secret)
        finally:
            await response.aclose()
        if not 200 <= response.status < 300:  # noqa: PLR2004
            raise _refusal(response, found, self._secret_key)
        return found

    def _without_secret(self, body: bytes, fields: list[HeaderField], secret: bytes) -> bytes:
        """Mask the secret in an answer that repeats the request, since the log has answers."""
        credential = self._credential
        if credential is not None:
            secret = fields[-1][1].removeprefix(credential.prefix.encode())
        return body.replace(secret, b"*" * len(secret)) if secret else body


async def _body(response: httpcore.Response) -> bytes:
    """Return the body, or its beginning if it is long."""
    found = bytearray()
    if isinstance(response.stream, AsyncIterable):
        async for piece in response.stream:
            found += piece[: limits.receiver_response_bytes_max - len(found)]
    return bytes(found)


def _refusal(response: httpcore.Response, body: bytes, key: str) -> ReceiverError:
    status = response.status
    text = printable(body.decode("utf-8", "replace").strip())[: limits.receiver_message_chars_max]
    # A binary body, such as a google.rpc.Status in protobuf, is no text for a person.
    text = f" ({text})" if text and body.isascii() else ""
    if status in _REFUSED:
        return ReceiverRefusedError(f"HTTP status {status}{text}")
    mend = _MENDS.get(status, "").format(key=key)
    return ReceiverError(f"HTTP status {status}{text}{mend}", _retry_seconds(response))


def _retry_seconds(response: httpcore.Response) -> float | None:
    """Return the seconds of Retry-After (RFC 9110, section 10.2.3); None if there is none."""
    found = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    seconds = retry_after_seconds(found.decode("ascii", "replace"), time.time())
    return None if seconds is None else min(seconds, limits.receiver_retry_seconds_max)


def _os_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return "it does not speak TLS; check scheme and port of `url`"
    if isinstance(error, ssl.SSLError | socket.gaierror):
        # Their numbers are not those of the operating system.
        return getattr(error, "verify_message", "") or error.strerror or ""
    # Trio's own text also has the address, as Python writes it.
    return os.strerror(error.errno) if error.errno else ""


def _reason(error: BaseException) -> str:
    """Return why there is no answer, without anything that the receiver sent."""
    if isinstance(error, trio.TooSlowError):
        return f"no answer within {limits.receiver_request_seconds:g} s"
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
