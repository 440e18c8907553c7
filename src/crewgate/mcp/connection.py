"""Makes clients and transports of the MCP SDK that present the token of a branch."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from crewgate.issuer.auth_flow import TokenSource
from crewgate.issuer.proof_key import ProofKey
from crewgate.mcp.mcp_http_client import TrustedRoot, http_client
from crewgate.mcp.sdk import http_auth, open_session, open_transport


def auth(source: TokenSource, *, key: ProofKey | None = None) -> http_auth.TokenAuth:
    """Make a hook for `auth=` of a class that opens its own connection to an MCP server.

    If there is no token, or if the gateway cannot be reached, the SDK ends the session with an
    error; `client` and `http_client` do not have this effect.

    Args:
        source, key: As for `http_client`.

    Raises:
        ValueError: `source` is a token.
        TypeError: `source` is no source of tokens.
    """
    return http_auth.TokenAuth(source, key=key)


def transport(
    source: TokenSource,
    url: str,
    *,
    ca: TrustedRoot = None,
    socket: Path | str | None = None,
    key: ProofKey | None = None,
) -> AbstractAsyncContextManager[Any]:
    """Make a transport to the MCP endpoint at `url`, for a class of the SDK that takes one.

    For `mcp.ClientSession`, write `async with transport(sub_agent, url) as (read, write)`.

    Args:
        source, ca, socket, key: As for `http_client`.
        url: The URL of an endpoint of the gateway, such as `https://localhost:8443/mcp/files`.

    Raises:
        ConfigurationError, TypeError, ValueError: As for `http_client`.
    """
    return open_transport(http_client(source, ca=ca, socket=socket, key=key), url)


def client(
    source: TokenSource,
    url: str,
    *,
    ca: TrustedRoot = None,
    socket: Path | str | None = None,
    key: ProofKey | None = None,
    **options: Any,  # noqa: ANN401 - the SDK's
) -> AbstractAsyncContextManager[Any]:
    """Make a client of the MCP SDK for the endpoint at `url`.

    Use it as `async with client(sub_agent, url) as session`. The session is an `mcp.Client`; with
    version 1 of the SDK it is a `ClientSession`. A call that the gateway refuses raises `MCPError`,
    or returns a result that is an error. The text says why, and what to do. If there is no token,
    or if the gateway cannot be reached, the call raises `MCPError` too. The session stays usable.
    If the session cannot be opened, the SDK raises an `ExceptionGroup` with this error.

    Args:
        source, ca, socket, key: As for `http_client`.
        url: As for `transport`.
        options: Further arguments of `mcp.Client`, such as `mode="legacy"`; for version 1 of the
            SDK, of `mcp.ClientSession`.

    Raises:
        ConfigurationError, TypeError, ValueError: As for `http_client`.
    """
    return open_session(transport(source, url, ca=ca, socket=socket, key=key), options)
