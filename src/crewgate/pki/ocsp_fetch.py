"""How an OCSP request travels: posted over http, https or a unix socket (RFC 6960, appendix A).

Knows no OCSP: what comes back is bytes of the right kind and a bounded number. Waits for ever:
whoever asks has a deadline. Redirects, proxies and compression are not followed, used or asked for.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import httpx

from crewgate import limits
from crewgate.config import Responder
from crewgate.errors import ConfigurationError, LinkError, ResponderError
from crewgate.link.doors import connectable

_REQUEST = "application/ocsp-request"
_RESPONSE = "application/ocsp-response"
_OK = 200
_SIZE_DIGITS_MAX = 12
# ValueError: a host that IDNA refuses, which Trio finds out when it asks for its address.
_FAILURES = (httpx.HTTPError, OSError, ValueError)


class Fetcher:
    """One responder, and the connections to it; `root` (PEM) is what its certificate hangs on."""

    def __init__(self, responder: Responder, root: Path) -> None:
        """ConfigurationError if the URL is none, or a file that TLS needs cannot be used."""
        self._responder = responder
        try:
            self._url = httpx.URL(responder.url)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"[ca] ocsp {responder.url}: {error}") from error
        verify: ssl.SSLContext | bool = False  # nothing is verified where nothing is encrypted
        if self._url.scheme == "https":
            verify = _context(responder, root)
        bounds = httpx.Limits(
            max_connections=limits.ocsp_queries_max,
            max_keepalive_connections=limits.ocsp_queries_max,
            keepalive_expiry=limits.upstream_keep_seconds,
        )
        self._held = ExitStack()  # whatever keeps the socket's address short enough
        # A transport and no client of httpx: nothing follows a redirect or keeps a cookie.
        self._transport = httpx.AsyncHTTPTransport(
            verify=verify,
            trust_env=False,
            limits=bounds,
            uds=self._address(responder.socket) if responder.socket else None,
        )

    def __repr__(self) -> str:
        return f"<Fetcher {self._responder}>"

    async def close(self) -> None:
        """Close its connections, whoever still waits for an answer."""
        await self._transport.aclose()
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
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            pass  # most likely one that was kept, and ended just now: to ask twice does no harm
        except _FAILURES as error:
            raise _failed(error) from error
        try:
            return await self._post(request)
        except _FAILURES as error:
            raise _failed(error) from error

    async def _post(self, request: bytes) -> bytes:
        head = {
            "host": self._url.netloc.decode("ascii"),
            "content-type": _REQUEST,
            "content-length": str(len(request)),
            "accept": _RESPONSE,
            "accept-encoding": "identity",
            "user-agent": "crewgate",
        }
        asked = httpx.Request("POST", self._url, headers=head, stream=_Body(request))
        response = await self._transport.handle_async_request(asked)
        try:
            _check_head(response)
            body = bytearray()
            async for piece in _stream(response):
                body += piece
                _check_size(len(body))
            return bytes(body)
        finally:
            await response.aclose()


class _Body(httpx.AsyncByteStream):
    """A request's body, as one piece.

    No generator, as httpx's own is: one that a broken connection leaves half-way is an error to
    Trio.
    """

    def __init__(self, data: bytes) -> None:
        self._left = [data]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def _check_head(response: httpx.Response) -> None:
    if response.status_code != _OK:
        raise ResponderError(f"HTTP status {response.status_code}; is the path right?")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _RESPONSE:
        raise ResponderError(f"an answer that is no {_RESPONSE}; is the path right?")
    size = response.headers.get("content-length", "0")
    if size.isascii() and size.isdecimal():
        _check_size(int(size[:_SIZE_DIGITS_MAX]))  # int() refuses to read thousands of digits


def _check_size(size: int) -> None:
    if size > limits.ocsp_response_bytes_max:
        raise ResponderError(f"an answer over {limits.ocsp_response_bytes_max} bytes")


def _stream(response: httpx.Response) -> AsyncIterator[bytes]:
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError("an asynchronous transport has asynchronous answers")
    return aiter(response.stream)


def _failed(error: Exception) -> ResponderError:
    """Says the system's reason where there is one; nothing of what the peer sent."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    reason = getattr(found, "verify_message", "") or getattr(found, "strerror", "")
    return ResponderError(f"{type(error).__name__}{f': {reason}' if reason else ''}")


def _context(responder: Responder, root: Path) -> ssl.SSLContext:
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
        context.load_cert_chain(responder.certificate, responder.key, password=_ask_nobody)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"[ca] ocsp_certificate {responder.certificate} with ocsp_key {responder.key}: "
            f"{getattr(error, 'strerror', None) or error}; give a PEM chain and its unencrypted "
            "PEM key"
        ) from error
    return context


def _ask_nobody() -> str:
    """Stand for the password of a key that has one: without this, OpenSSL asks the terminal."""
    raise ValueError("the key is encrypted")
