"""How an OCSP request travels: posted over http, https or a unix socket (RFC 6960, appendix A).

Knows no OCSP: what comes back is bytes of the right kind and a bounded number. Waits for ever:
whoever asks has a deadline. Redirects, proxies and compression are not followed, used or asked for.
"""

import ipaddress
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpcore

from crewgate import limits
from crewgate.config import ResponderConfig
from crewgate.errors import ConfigurationError, LinkError, ResponderError
from crewgate.ipc.sockets import connectable
from crewgate.openssl import show_certificate

_REQUEST = b"application/ocsp-request"
_RESPONSE = b"application/ocsp-response"
_OK = 200
_SIZE_DIGITS_MAX = 12
_ENDED = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)
# ValueError: a host that IDNA refuses, which Trio finds out when it asks for its address.
_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
    ValueError,
)


class OCSPTransport:
    """One responder, and the connections to it; `root` (PEM) is what its certificate hangs on.

    httpcore and not httpx: a worker that imports httpx has its command and its colours as well.
    Nothing here follows a redirect, reads a proxy from the environment or keeps a cookie.
    """

    def __init__(self, responder: ResponderConfig, root: Path) -> None:
        """ConfigurationError if the URL is none, or a file that TLS needs cannot be used."""
        self._responder = responder
        self._url, self._host = _place(responder.url)
        self._held = ExitStack()  # whatever keeps the socket's address short enough
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_context(responder, root) if self._url.scheme == b"https" else None,
            max_connections=limits.ocsp_queries_max,
            max_keepalive_connections=limits.ocsp_queries_max,
            keepalive_expiry=limits.upstream_keep_seconds,
            uds=self._address(responder.socket) if responder.socket else None,
        )

    def __repr__(self) -> str:
        return f"<OCSPTransport {self._responder}>"

    async def close(self) -> None:
        """Close its connections, whoever still waits for an answer."""
        await self._pool.aclose()
        self._held.close()

    def _address(self, socket: Path) -> str:
        try:
            return self._held.enter_context(connectable(socket.parent, socket.name))
        except LinkError:  # there is no such folder yet, so nobody listens
            return str(socket)

    async def __call__(self, request: bytes) -> bytes:
        """The response to a request, both DER; ResponderError. Cancel it to end the wait."""
        try:
            return await self._post(request)
        except _ENDED:
            pass  # most likely one that was kept, and ended just now: to ask twice does no harm
        except _FAILURES as error:
            raise _failed(error) from error
        try:
            return await self._post(request)
        except _FAILURES as error:
            raise _failed(error) from error

    async def _post(self, request: bytes) -> bytes:
        head = [
            (b"host", self._host),
            (b"content-type", _REQUEST),
            (b"content-length", b"%d" % len(request)),
            (b"accept", _RESPONSE),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"crewgate"),
        ]
        asked = httpcore.Request("POST", self._url, headers=head, content=_Body(request))
        response = await self._pool.handle_async_request(asked)
        try:
            _check_head(response)
            body = bytearray()
            async for piece in _stream(response):
                body += piece
                _check_size(len(body))
            return bytes(body)
        finally:
            await response.aclose()


class _Body:
    """A request's body, as one piece.

    It is no generator: to Trio, one that a broken connection leaves half-way is an error.
    """

    def __init__(self, data: bytes) -> None:
        self._left = [data]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def _place(url: str) -> tuple[httpcore.URL, bytes]:
    """The URL as httpcore has it, and the value of Host (RFC 9110, section 7.2)."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
        if ":" in name:
            ipaddress.IPv6Address(name)
    except ValueError as error:
        raise ConfigurationError(f"[ca] ocsp {url}: {error}") from error
    scheme, target = parts.scheme.encode("ascii"), parts.path.encode("ascii") or b"/"
    place = httpcore.URL(scheme=scheme, host=name.encode("ascii"), port=port, target=target)
    host = f"[{name}]" if ":" in name else name
    return place, (host if port is None else f"{host}:{port}").encode("ascii")


def _check_head(response: httpcore.Response) -> None:
    if response.status != _OK:
        raise ResponderError(f"HTTP status {response.status}; is the path right?")
    head = {name.lower(): value for name, value in response.headers}
    kind = head.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != _RESPONSE:
        raise ResponderError(f"an answer that is no {_RESPONSE.decode()}; is the path right?")
    size = head.get(b"content-length", b"0")
    if size.isdigit():
        _check_size(int(size[:_SIZE_DIGITS_MAX]))  # int() refuses to read thousands of digits


def _check_size(size: int) -> None:
    if size > limits.ocsp_response_bytes_max:
        raise ResponderError(f"an answer over {limits.ocsp_response_bytes_max} bytes")


def _stream(response: httpcore.Response) -> AsyncIterator[bytes]:
    if not isinstance(response.stream, AsyncIterable):
        raise TypeError("an asynchronous pool has asynchronous answers")
    return aiter(response.stream)


def _failed(error: Exception) -> ResponderError:
    """Says the system's reason where there is one; nothing of what the peer sent."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    reason = getattr(found, "verify_message", "") or getattr(found, "strerror", "")
    return ResponderError(f"{type(error).__name__}{f': {reason}' if reason else ''}")


def _context(responder: ResponderConfig, root: Path) -> ssl.SSLContext:
    """Chain, name and strictness are verified, by the CA's root alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # with CERT_REQUIRED and check_hostname
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325, section 3.1.1
    context.hostname_checks_common_name = False  # RFC 9525, section 2
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_verify_locations(root)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"{root}: the root that the OCSP responder's certificate hangs on cannot be used: "
            f"{error.strerror or error}; `crewgate ca init` makes one"
        ) from error
    if responder.certificate is None or responder.key is None:
        return context
    try:
        show_certificate(context, responder.certificate, responder.key)
    except OSError as error:
        raise ConfigurationError(f"ocsp_certificate with ocsp_key of [ca]: {error}") from error
    return context
