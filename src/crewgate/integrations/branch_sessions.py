"""Calls the tools of an MCP endpoint, each with the session of the branch that runs."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from anyio import to_thread
from mcp.types import CallToolResult, ListToolsResult, Tool

from crewgate import limits
from crewgate.errors import CrewgateError
from crewgate.integrations.branch_spawner import BranchSpawner
from crewgate.integrations.sub_agent_branch import SubAgentBranch
from crewgate.mcp import SessionPool
from crewgate.mcp.mcp_http_client import TrustedRoot
from crewgate.mcp.sdk import MCPError, error_result, next_cursor

T = TypeVar("T")


class BranchSessions:
    """The MCP sessions of a spawner's branches at one endpoint.

    Use it as a context manager, or call `close`. The session of a sub-agent ends with its branch.

    Args:
        spawner: Spawns the branches.
        url, ca, socket: As for `crewgate.mcp.SessionPool`.
        current: Returns the branch of the running code; None asks the spawner.

    Raises:
        ConfigurationError: The file `ca` cannot be read, or has no certificate.
    """

    def __init__(
        self,
        spawner: BranchSpawner,
        url: str,
        *,
        ca: TrustedRoot = None,
        socket: Path | str | None = None,
        current: Callable[[], SubAgentBranch] | None = None,
    ) -> None:
        self._current = current or (lambda: spawner.current)
        self._root = spawner.root
        self._pool = SessionPool(url, ca=ca, socket=socket)
        self._forget = spawner.before_end(self._pool.end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of the endpoint."""
        return self._pool.url

    def close(self) -> None:
        """End all sessions; call it once."""
        self._forget()
        self._pool.close()

    async def call(
        self, function: Callable[[Any], Awaitable[T]], branch: SubAgentBranch | None = None
    ) -> T:
        """Call `function` with the session of a branch, by default that of the running code.

        This is for code in an event loop of asyncio.

        Raises:
            MCPError: The gateway or the server refuses; the text says why, and what to do.
            IssuerError: The running code has no branch, or the branch cannot be spawned.
        """
        found = branch or self._current()
        if not found.is_spawned:
            await to_thread.run_sync(lambda: found.agent)
        return await asyncio.wrap_future(self._pool.submit(found.agent, function))

    def call_blocking(
        self, function: Callable[[Any], Awaitable[T]], branch: SubAgentBranch | None = None
    ) -> T:
        """Do what `call` does, in code that runs in no event loop."""
        return self._pool.submit((branch or self._current()).agent, function).result()

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None,
        meta: dict[str, Any] | None = None,
        branch: SubAgentBranch | None = None,
    ) -> CallToolResult:
        """Call a tool; a refusal, or an error of the connection, is a result for the model."""
        try:
            return await self.call(partial(_call_tool, name, arguments, meta), branch)
        except (MCPError, CrewgateError) as error:
            return error_result(str(error))

    def call_tool_blocking(self, name: str, arguments: dict[str, Any] | None) -> CallToolResult:
        """Do what `call_tool` does, in code that runs in no event loop."""
        try:
            return self.call_blocking(partial(_call_tool, name, arguments, None))
        except (MCPError, CrewgateError) as error:
            return error_result(str(error))

    def tools(self) -> list[Tool]:
        """Return the tools that the run may use; for code that runs before its event loop."""
        return self.call_blocking(all_tools, self._root)


async def _call_tool(
    name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None, client: Any
) -> CallToolResult:
    result: CallToolResult = await client.call_tool(name, arguments, meta=meta)
    return result


async def all_tools(client: Any) -> list[Tool]:
    """Return the tools of a server, from all pages of its list."""
    tools: list[Tool] = []
    cursor = None
    for _ in range(limits.mcp_list_pages_max):
        page: ListToolsResult = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = next_cursor(page)
        if cursor is None:
            break
    return tools
