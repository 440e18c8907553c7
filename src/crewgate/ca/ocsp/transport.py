"""Posts OCSP requests over HTTP, HTTPS or a unix socket (RFC 6960, appendix A).

It checks the media type and the size of a response, but does not parse it. It has no timeout: the
caller has a deadline. It follows no redirect, uses no proxy and requests no compression.
"""

import ipaddress
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpcore

from crewgate import limits
from crewgate.config import OCSPClientConfig
from crewgate.core.body_encoding import media_type
from crewgate.errors import ConfigurationError, OCSPQueryError, ServiceConnectionError
from crewgate.ipc.sockets import connectable
from crewgate.runtime.one_chunk_body import OneChunkBody
from crewgate.ssl_workarounds import show_certificate

_REQUEST = b"application/ocsp-request"
_RESPONSE = b"application/ocsp-response"
_OK = 200
_SIZE_DIGITS_MAX = 12
_CONNECTION_CLOSED = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)
# ValueError: IDNA refuses the host name, which shows when Trio resolves it.
_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
    ValueError,
)


class OCSPTransport:
    """The connections to one responder, whose TLS certificate `root` (PEM) must have signed.

    It uses httpcore, not httpx: a worker that imports httpx also loads its command line tool. So
    nothing here follows a redirect, reads a proxy from the environment or keeps a cookie.
    """

    def __init__(self, responder: OCSPClientConfig, root: Path) -> None:
        """Raise ConfigurationError if the URL is invalid, or a file for TLS cannot be used."""
        self._responder = responder
        self._url, self._host = _parse_url(responder.url)
        # Holds the folder open through which a long socket path becomes short enough.
        self._resources = ExitStack()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_context(responder, root) if self._url.scheme == b"https" else None,
            max_connections=limits.ocsp_queries_max,
            max_keepalive_connections=limits.ocsp_queries_max,
            keepalive_expiry=limits.upstream_safe_rest_seconds,
            uds=self._address(responder.socket) if responder.socket else None,
        )

    async def close(self) -> None:
        """Close all connections; requests in progress fail."""
        await self._pool.aclose()
        self._resources.close()

    def _address(self, socket: Path) -> str:
        try:
            return self._resources.enter_context(connectable(socket.parent, socket.name))
        # There is no such folder yet, so nothing listens there.
        except ServiceConnectionError:
            return str(socket)

    async def __call__(self, request: bytes) -> bytes:
        """Return the response to a request, both DER. Raises OCSPQueryError; cancel it to stop."""
        try:
            return await self._post(request)
        # Most likely the server has just closed an idle connection. A second request does no harm.
        except _CONNECTION_CLOSED:
            pass
        except _FAILURES as error:
            raise _responder_error(error) from error
        try:
            return await self._post(request)
        except _FAILURES as error:
            raise _responder_error(error) from error

    async def _post(self, request: bytes) -> bytes:
        head = [
            (b"host", self._host),
            (b"content-type", _REQUEST),
            (b"content-length", b"%d" % len(request)),
            (b"accept", _RESPONSE),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"crewgate"),
        ]
        post = httpcore.Request("POST", self._url, headers=head, content=OneChunkBody(request))
        response = await self._pool.handle_async_request(post)
        try:
            _check_head(response)
            body = bytearray()
            async for piece in _stream(response):
                body += piece
                _check_size(len(body))
            return bytes(body)
        finally:
            await response.aclose()


def _parse_url(url: str) -> tuple[httpcore.URL, bytes]:
    """Return httpcore's URL, and the value of the Host field (RFC 9110, section 7.2)."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
        if ":" in name:
            ipaddress.IPv6Address(name)
    except ValueError as error:
        raise ConfigurationError(f"[ca] ocsp {url}: {error}") from error
    scheme, target = parts.scheme.encode("ascii"), parts.path.encode("ascii") or b"/"
    parsed = httpcore.URL(scheme=scheme, host=name.encode("ascii"), port=port, target=target)
    host = f"[{name}]" if ":" in name else name
    return parsed, (host if port is None else f"{host}:{port}").encode("ascii")


def _check_head(response: httpcore.Response) -> None:
    if response.status != _OK:
        raise OCSPQueryError(f"HTTP status {response.status}; check the path of its URL")
    head = {name.lower(): value for name, value in response.headers}
    kind = media_type(head.get(b"content-type", b""))
    if kind != _RESPONSE:
        raise OCSPQueryError(f"the response is not {_RESPONSE.decode()}; check the path of its URL")
    size = head.get(b"content-length", b"0")
    if size.isdigit():
        # int() raises ValueError for thousands of digits.
        _check_size(int(size[:_SIZE_DIGITS_MAX]))


def _check_size(size: int) -> None:
    if size > limits.ocsp_response_bytes_max:
        raise OCSPQueryError(f"the response is larger than {limits.ocsp_response_bytes_max} bytes")


def _stream(response: httpcore.Response) -> AsyncIterator[bytes]:
    if not isinstance(response.stream, AsyncIterable):
        raise TypeError("the stream of an asynchronous pool must be asynchronous")
    return aiter(response.stream)


def _responder_error(error: Exception) -> OCSPQueryError:
    """Return an error with the system's reason, if any, but nothing that the responder sent."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    reason = getattr(found, "verify_message", "") or getattr(found, "strerror", "")
    return OCSPQueryError(f"{type(error).__name__}{f': {reason}' if reason else ''}")


def _context(responder: OCSPClientConfig, root: Path) -> ssl.SSLContext:
    """Return a client context that trusts only the CA's root, and verifies strictly."""
    # This protocol sets CERT_REQUIRED and check_hostname.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325, section 3.1.1
    context.hostname_checks_common_name = False  # RFC 9525, section 2
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_verify_locations(root)
    # ssl.SSLError is an OSError.
    except OSError as error:
        raise ConfigurationError(
            f"{root}: this root certificate, for the OCSP responder's, cannot be used: "
            f"{error.strerror or error}; `crewgate ca init` makes one"
        ) from error
    if responder.certificate is None or responder.key is None:
        return context
    try:
        show_certificate(context, responder.certificate, responder.key)
    except OSError as error:
        raise ConfigurationError(f"ocsp_certificate with ocsp_key of [ca]: {error}") from error
    return context
