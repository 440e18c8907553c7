"""Makes clients and transports of the MCP SDK that present the token of a branch."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client

from crewgate.issuer.auth_flow import TokenSource
from crewgate.issuer.httpx2_auth import TokenAuth
from crewgate.mcp.http_client import http_client


def auth(source: TokenSource) -> TokenAuth:
    """Make a hook for `auth=` of a class that opens its own connection to an MCP server.

    If there is no token, or if the gateway cannot be reached, the SDK ends the session with an
    error; `client` and `http_client` do not have this effect.

    Args:
        source: As for `http_client`.

    Raises:
        ValueError: `source` is a token.
        TypeError: `source` is no source of tokens.
    """
    return TokenAuth(source)


def transport(
    source: TokenSource,
    url: str,
    *,
    ca: Path | str | None = None,
    socket: Path | str | None = None,
) -> AbstractAsyncContextManager[Any]:
    """Make a transport to the MCP endpoint at `url`, for a class of the SDK that takes one.

    For `mcp.ClientSession`, write `async with transport(sub_agent, url) as (read, write)`.

    Args:
        source, ca, socket: As for `http_client`.
        url: The URL of an endpoint of the gateway, such as `https://localhost:8443/mcp/files`.

    Raises:
        ConfigurationError, TypeError, ValueError: As for `http_client`.
    """
    return _open(http_client(source, ca=ca, socket=socket), url)


def client(
    source: TokenSource,
    url: str,
    *,
    ca: Path | str | None = None,
    socket: Path | str | None = None,
    **options: object,
) -> mcp.Client:
    """Make a client of the MCP SDK for the endpoint at `url`.

    Use it as `async with client(sub_agent, url) as session`. A call that the gateway refuses raises
    `mcp.MCPError`, or returns a result with `is_error`. The text says why, and what to do. If there
    is no token, or if the gateway cannot be reached, the call raises `mcp.MCPError` too. The
    session stays usable.

    Args:
        source, ca, socket: As for `http_client`.
        url: As for `transport`.
        options: Further arguments of `mcp.Client`, such as `mode="legacy"`.

    Raises:
        ConfigurationError, TypeError, ValueError: As for `http_client`.
    """
    return mcp.Client(transport(source, url, ca=ca, socket=socket), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def _open(client: httpx2.AsyncClient, url: str) -> AsyncGenerator[Any]:
    async with client as http, streamable_http_client(url, http_client=http) as streams:
        yield streams
