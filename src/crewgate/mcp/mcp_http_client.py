"""An HTTP client for MCP: it presents the token, and answers each failed request by itself."""

import ssl
from http import HTTPStatus
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.core.problem_types import rpc_code
from crewgate.core.terminal_text import printable
from crewgate.errors import ConfigurationError
from crewgate.issuer.auth_flow import TokenSource
from crewgate.issuer.proof_key import ProofKey
from crewgate.mcp.sdk import IS_VERSION_1, http, http_auth

TrustedRoot = Path | str | ssl.SSLContext | None

_JSON = "application/json"
# With these errors, no byte of the request has reached the gateway.
_UNSENT = (http.ConnectError, http.ConnectTimeout, http.PoolTimeout)


class MCPHTTPClient(http.AsyncClient):
    """An `AsyncClient` of httpx2 that answers a failed request with a JSON-RPC error.

    The MCP SDK gives such a response to the caller of the one request. If the client raised
    instead, the SDK would end the session, and with it all other calls. Version 1 of the SDK uses
    httpx, and also ends the session at a status above 399. So it gets the errors at status 200.
    """

    async def send(self, request: http.Request, **options: object) -> http.Response:
        """Send a request as the base class does; raise no error of the connection.

        The method also reads a body of JSON, because the body can break off too.
        """
        try:
            response = await super().send(request, **options)  # type: ignore[arg-type]
            if response.headers.get("content-type", "").lower().startswith(_JSON):
                await _read(response)
                if IS_VERSION_1 and response.is_error:
                    return _for_version_1(request, response)
        except http_auth.NoTokenError as error:
            text = f"The client did not send the call: {error}"
            return _failure(request, HTTPStatus.UNAUTHORIZED, text)
        except http.RequestError as error:
            return _failure(request, HTTPStatus.SERVICE_UNAVAILABLE, _text(error))
        return response


def http_client(
    source: TokenSource,
    *,
    ca: TrustedRoot = None,
    socket: Path | str | None = None,
    key: ProofKey | None = None,
    **options: object,
) -> http.AsyncClient:
    """Make an HTTP client for MCP that presents the newest token of `source`.

    It is an `AsyncClient` of httpx2, or of httpx for version 1 of the MCP SDK.

    Args:
        source: A SubAgent, the path of a token file, or a function that returns the token, or None
            if there is none.
        ca: The PEM file of the root that signed the gateway's certificate, or a TLS context; None
            trusts the roots of the system.
        socket: The unix socket of `crewgate run` (`CREWGATE_SOCKET`); then the URL is that of
            `CREWGATE_GATEWAY`.
        key: The key to which the token is bound, if this program has it: each request then has a
            proof of it. The process of `crewgate run` proves its own key by itself.
        options: Further arguments of `AsyncClient`.

    Raises:
        ConfigurationError: The file `ca` cannot be read, or has no certificate.
        ValueError: `source` is a token.
        TypeError: `source` is no source of tokens.
    """
    context = tls_context(ca)
    if context is not None:
        options["verify"] = context
    if socket is not None:
        options["transport"] = http.AsyncHTTPTransport(uds=str(socket))
    # A tool may work for minutes before the first byte of its answer.
    timeout = http.Timeout(limits.mcp_client_seconds, read=limits.mcp_client_read_seconds)
    given = {"timeout": timeout, **options}
    auth = http_auth.TokenAuth(source, key=key, behind_sidecar=socket is not None)
    return MCPHTTPClient(auth=auth, **given)  # type: ignore[arg-type]


def tls_context(ca: TrustedRoot) -> ssl.SSLContext | None:
    """Return the TLS context that trusts a root; None is that of the HTTP client itself.

    Raises:
        ConfigurationError: The file `ca` cannot be read, or has no certificate.
    """
    if ca is None or isinstance(ca, ssl.SSLContext):
        return ca
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"{ca}: cannot read the root certificate ({error.strerror or error}); name the CA's "
            "certs/ca.pem"
        ) from error


async def _read(response: http.Response) -> None:
    try:
        await response.aread()
    except http.RequestError:
        await response.aclose()
        raise


def _text(error: http.RequestError) -> str:
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


def _failure(request: http.Request, status: int, message: str) -> http.Response:
    error = {"code": rpc_code(status), "message": message}
    body = {"jsonrpc": "2.0", "id": _id_of(request), "error": error}
    response = http.Response(status, json=body, request=request)
    return _for_version_1(request, response) if IS_VERSION_1 else response


class _Message(msgspec.Struct):
    id: int | str | None = None


def _id_of(request: http.Request) -> int | str | None:
    """Return the id of the JSON-RPC request in a body; None if the body has none."""
    try:
        return msgspec.json.decode(request.content, type=_Message).id
    except (http.RequestNotRead, msgspec.MsgspecError):
        return None


def _for_version_1(request: http.Request, response: http.Response) -> http.Response:
    """Return the response with status 200, or the empty answer to a notification."""
    if _id_of(request) is None:
        return http.Response(HTTPStatus.ACCEPTED, request=request)
    return http.Response(
        HTTPStatus.OK,
        headers={"content-type": _JSON},
        content=response.content,
        request=request,
    )
