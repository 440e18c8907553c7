"""An HTTP client for MCP: it presents the token, and answers each failed request by itself."""

import ssl
from pathlib import Path

import httpx2

from crewgate import limits
from crewgate.core.terminal_text import printable
from crewgate.errors import ConfigurationError
from crewgate.issuer.auth_flow import TokenSource
from crewgate.issuer.httpx2_auth import NoTokenError, TokenAuth

_JSON = "application/json"
_INTERNAL_ERROR = -32603  # JSON-RPC 2.0, section 5.1
# With these errors, no byte of the request has reached the gateway.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class MCPHTTPClient(httpx2.AsyncClient):
    """An `httpx2.AsyncClient` that answers a failed request with a JSON-RPC error.

    The MCP SDK gives such a response to the caller of the one request. If the client raised
    instead, the SDK would end the session, and with it all other calls.
    """

    async def send(self, request: httpx2.Request, **options: object) -> httpx2.Response:
        """Send a request as `httpx2.AsyncClient.send` does; raise no error of the connection.

        The method also reads a body of JSON, because the body can break off too.
        """
        try:
            response = await super().send(request, **options)  # type: ignore[arg-type]
            if response.headers.get("content-type", "").lower().startswith(_JSON):
                await _read(response)
        except NoTokenError as error:
            return _failure(request, 401, f"The client did not send the call: {error}")
        except httpx2.RequestError as error:
            return _failure(request, 503, _text(error))
        return response


def http_client(
    source: TokenSource,
    *,
    ca: Path | str | None = None,
    socket: Path | str | None = None,
    **options: object,
) -> httpx2.AsyncClient:
    """Make an HTTP client for MCP that presents the newest token of `source`.

    Args:
        source: A SubAgent, the path of a token file, or a function that returns the token, or None
            if there is none.
        ca: The PEM file of the root that signed the gateway's certificate; None trusts the roots of
            the system.
        socket: The unix socket of `crewgate run` (`CREWGATE_SOCKET`); then the URL is that of
            `CREWGATE_GATEWAY`.
        options: Further arguments of `httpx2.AsyncClient`.

    Raises:
        ConfigurationError: The file `ca` cannot be read, or has no certificate.
        ValueError: `source` is a token.
        TypeError: `source` is no source of tokens.
    """
    if ca is not None:
        options["verify"] = _context(Path(ca))
    if socket is not None:
        options["transport"] = httpx2.AsyncHTTPTransport(uds=str(socket))
    # A tool may work for minutes before the first byte of its answer.
    timeout = httpx2.Timeout(limits.mcp_client_seconds, read=limits.mcp_client_read_seconds)
    return MCPHTTPClient(auth=TokenAuth(source), **{"timeout": timeout, **options})  # type: ignore[arg-type]


def _context(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"{ca}: cannot read the root certificate ({error.strerror or error}); name the CA's "
            "certs/ca.pem"
        ) from error


async def _read(response: httpx2.Response) -> None:
    try:
        await response.aread()
    except httpx2.RequestError:
        await response.aclose()
        raise


def _text(error: httpx2.RequestError) -> str:
    """Return what happened, and what the caller can do, for a model to read."""
    cause = printable(f"{type(error).__name__} {error}".strip())[: limits.ipc_reason_chars_max]
    if isinstance(error, _UNSENT):
        return (
            f"The client did not send the call: it cannot reach the gateway ({cause}). Try again "
            "later."
        )
    return (
        f"The gateway gave no whole answer ({cause}). The tool may have done its work: repeat the "
        "call only if the tool may run twice."
    )


def _failure(request: httpx2.Request, status: int, message: str) -> httpx2.Response:
    error = {"code": _INTERNAL_ERROR, "message": message}
    return httpx2.Response(
        status, json={"jsonrpc": "2.0", "id": None, "error": error}, request=request
    )
