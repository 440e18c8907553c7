"""The MCP SDK for Python, in its two major versions: what Crewgate needs of either.

Some frameworks still need version 1. It uses httpx in the place of httpx2, has no `Client`, and
names the fields of messages as they are on the wire. No other module asks for the version.
"""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import mcp
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool

IS_VERSION_1 = not hasattr(mcp, "Client")

if TYPE_CHECKING:
    import httpx2 as http
    from mcp import MCPError

    from crewgate.issuer import httpx2_auth as http_auth
else:
    http = import_module("httpx" if IS_VERSION_1 else "httpx2")
    http_auth = import_module(f"crewgate.issuer.{http.__name__}_auth")
    MCPError = mcp.McpError if IS_VERSION_1 else mcp.MCPError

__all__ = [
    "IS_VERSION_1",
    "MCPError",
    "content_text",
    "error_result",
    "http",
    "http_auth",
    "input_schema",
    "is_error",
    "next_cursor",
    "open_session",
]


def open_session(
    transport: AbstractAsyncContextManager[Any], options: dict[str, Any]
) -> AbstractAsyncContextManager[Any]:
    """Make a session over a transport: an `mcp.Client`, or a `ClientSession` of version 1."""
    if IS_VERSION_1:
        return _session_of_version_1(transport, options)
    return mcp.Client(transport, **options)


@asynccontextmanager
async def open_transport(client: http.AsyncClient, url: str) -> AsyncGenerator[Any]:
    """Open a transport, with two streams, over an HTTP client that the transport closes."""
    async with client as entered, streamable_http_client(url, http_client=entered) as streams:
        yield streams[:2]  # version 1 has a third element


@asynccontextmanager
async def _session_of_version_1(
    transport: AbstractAsyncContextManager[Any], options: dict[str, Any]
) -> AsyncGenerator[Any]:
    async with transport as (read, write), mcp.ClientSession(read, write, **options) as session:
        await session.initialize()
        yield session


def next_cursor(page: ListToolsResult) -> str | None:
    """Return the cursor of the next page of a list; None after the last page."""
    cursor: str | None = _field(page, "next_cursor", "nextCursor")
    return cursor


def input_schema(tool: Tool) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments."""
    schema: dict[str, Any] = _field(tool, "input_schema", "inputSchema")
    return schema


def is_error(result: CallToolResult) -> bool:
    """Return whether a tool, or a gateway in its place, reports an error."""
    return bool(_field(result, "is_error", "isError"))


def error_result(text: str) -> CallToolResult:
    """Return a result of a tool that is an error, for a model to read."""
    content = [{"type": "text", "text": text}]
    return CallToolResult.model_validate({"content": content, "isError": True})


def content_text(result: CallToolResult) -> str:
    """Return the content of a result as text, with JSON for each part that is no text."""
    return "\n".join(
        part.text if isinstance(part, TextContent) else part.model_dump_json(by_alias=True)
        for part in result.content
    )


def _field(message: object, name: str, name_in_version_1: str) -> Any:  # noqa: ANN401 - any field
    return getattr(message, name_in_version_1 if IS_VERSION_1 else name)
