"""Gives each agent of CrewAI a branch of its own.

In the block `with agent_branches(spawner):`, each execution of a task by an agent runs as a branch
below `spawner.run`; so does the work that an agent delegates to another one, below its own branch.
The branch ends with the execution. `mcp_tools` makes tools of an MCP endpoint of the gateway.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from mcp.types import CallToolResult, Tool

from crewgate.integrations.branch_sessions import BranchSessions
from crewgate.integrations.branch_spawner import BranchSpawner
from crewgate.mcp.mcp_http_client import TrustedRoot
from crewgate.mcp.sdk import content_text, input_schema, is_error
from crewgate.runtime.install_hint import install_hint

try:
    from crewai import Agent
    from crewai.tools import BaseTool
    from crewai.utilities.pydantic_schema_utils import create_model_from_schema
    from pydantic import PrivateAttr
except ModuleNotFoundError as error:
    hint = install_hint("crewgate.integrations.crewai", "crewai")
    raise ModuleNotFoundError(hint, name=error.name) from error

__all__ = ["agent_branches", "mcp_tools"]

# The methods of an agent that do its work. Each may call another one of them.
_EXECUTIONS = ("execute_task", "aexecute_task", "kickoff", "kickoff_async")


@contextmanager
def agent_branches(spawner: BranchSpawner) -> Iterator[None]:
    """Give each agent of CrewAI a branch while the block runs.

    The block replaces methods of `crewai.Agent`, so it applies to all agents of the process. An
    agent that executes a part of its own task, for example a second attempt, keeps its branch.
    """
    before = {name: getattr(Agent, name) for name in _EXECUTIONS}
    for name, method in before.items():
        setattr(Agent, name, _as_sub_agent(spawner, method))
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Agent, name, method)


@contextmanager
def mcp_tools(
    spawner: BranchSpawner,
    url: str,
    *,
    ca: TrustedRoot = None,
    socket: Path | str | None = None,
) -> Iterator[list[BaseTool]]:
    """Make tools for `tools=` of agents, of those that `spawner.run` may use at an MCP endpoint.

    Each call of a tool presents the token of the agent that calls it. If the gateway refuses the
    call, the model reads why. CrewAI does not cache results, because another agent might read them
    there. The tools work until the block ends.

    Args:
        spawner: Spawns the branches.
        url: The URL of an endpoint of the gateway.
        ca, socket: As for `crewgate.mcp.client`.

    Raises:
        ConfigurationError: The file `ca` cannot be read, or has no certificate.
        crewgate.mcp.MCPError: The gateway refuses the list of tools, or cannot be reached.
    """
    with BranchSessions(spawner, url, ca=ca, socket=socket) as sessions:
        yield [_tool(sessions, each) for each in sessions.tools()]


class _MCPTool(BaseTool):  # type: ignore[misc]
    """A tool of the endpoint."""

    _sessions: BranchSessions = PrivateAttr()
    _name_at_server: str = PrivateAttr()

    def _run(self, **arguments: Any) -> str:
        return _text(self._sessions.call_tool_blocking(self._name_at_server, arguments))

    async def _arun(self, **arguments: Any) -> str:
        return _text(await self._sessions.call_tool(self._name_at_server, arguments))


def _tool(sessions: BranchSessions, tool: Tool) -> BaseTool:
    made = _MCPTool(
        name=tool.name,
        description=tool.description or tool.name,
        args_schema=create_model_from_schema(
            input_schema(tool), model_name=f"{tool.name}_arguments", enrich_descriptions=True
        ),
        cache_function=_is_cacheable,
    )
    made._sessions, made._name_at_server = sessions, tool.name  # noqa: SLF001 - of this module
    return made


def _is_cacheable(arguments: object, result: object) -> bool:
    return False


def _text(result: CallToolResult) -> str:
    """Return the text for the model. If a tool raised, CrewAI would repeat the call by itself."""
    return f"Error: {content_text(result)}" if is_error(result) else content_text(result)


def _as_sub_agent(spawner: BranchSpawner, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return `method` of an agent, which then runs as a branch of its own."""
    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def run_async(agent: Any, *arguments: Any, **options: Any) -> Any:
            if _is_running(spawner, agent.role):
                return await method(agent, *arguments, **options)
            async with spawner.branch(agent.role):
                return await method(agent, *arguments, **options)

        return run_async

    @wraps(method)
    def run(agent: Any, *arguments: Any, **options: Any) -> Any:
        if _is_running(spawner, agent.role):
            return method(agent, *arguments, **options)
        with spawner.branch(agent.role):
            return method(agent, *arguments, **options)

    return run


def _is_running(spawner: BranchSpawner, role: str) -> bool:
    """Whether the running code is the sub-agent with this role already."""
    return not spawner.is_outside and spawner.current.role == role
