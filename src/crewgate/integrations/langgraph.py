"""Gives each sub-agent of a LangGraph graph a branch of its own.

Pass a `BranchCallbackHandler` in `callbacks` when you call the outermost graph. That graph runs as
the branch `spawner.run`. Each agent below it gets a branch, which ends with the run of the agent.
`mcp_tools` makes tools of an MCP endpoint of the gateway, which call it with these branches.
"""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from mcp.types import CallToolResult, Tool

from crewgate.errors import IssuerError
from crewgate.integrations.branch_sessions import BranchSessions
from crewgate.integrations.branch_spawner import BranchSpawner
from crewgate.integrations.sub_agent_branch import SubAgentBranch
from crewgate.mcp.mcp_http_client import TrustedRoot
from crewgate.mcp.sdk import content_text, input_schema, is_error
from crewgate.runtime.install_hint import install_hint

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.runnables.config import var_child_runnable_config
    from langchain_core.tools import StructuredTool, ToolException
except ModuleNotFoundError as error:
    hint = install_hint("crewgate.integrations.langgraph", "langgraph")
    raise ModuleNotFoundError(hint, name=error.name) from error

__all__ = ["BranchCallbackHandler", "mcp_tools"]

_AGENT = "lc_agent_name"  # the member of a run's metadata with which LangChain marks its agents


class _GraphRun(NamedTuple):
    """A run of a graph, node or tool, with the branch and the name of its agent."""

    branch: SubAgentBranch
    name: str
    is_agent: bool


class BranchCallbackHandler(BaseCallbackHandler):
    """Makes a branch when an agent of a graph starts, and ends it when the agent ends.

    An agent is a run below another one that LangChain marks as an agent with a name, as
    `create_agent(…, name="researcher")` does, or whose name is in `agents`. A run with the name of
    the agent to which it belongs is a part of this agent.

    A hook such as `TokenAuth(handler)` presents the token of the agent whose node or tool runs.

    Args:
        spawner: Spawns the branches.
        agents: Names of nodes and graphs that are agents too.
    """

    raise_error = True

    def __init__(self, spawner: BranchSpawner, agents: Collection[str] = ()) -> None:
        self.spawner = spawner
        self._agents = frozenset(agents)
        self._lock = threading.Lock()
        self._runs: dict[UUID, _GraphRun] = {}

    @property
    def current(self) -> SubAgentBranch:
        """The branch of the agent whose node or tool runs here.

        Raises:
            IssuerError: No node or tool of a graph with this handler runs here.
        """
        config = var_child_runnable_config.get() or {}
        above: UUID | None = getattr(config.get("callbacks"), "parent_run_id", None)
        run = self._runs.get(above) if above else None
        if run is None:
            raise IssuerError(
                "no agent runs here, so there is no branch: pass the BranchCallbackHandler in "
                "`callbacks` of the outermost graph, and copy the context into threads"
            )
        return run.branch

    def token(self) -> str:
        """Return the token for the next request of the running agent; see `SubAgent.token`."""
        return self.current.token()

    def has_fresh_token(self) -> bool:
        """Return whether `token` returns or raises at once."""
        try:
            return self.current.has_fresh_token()
        except IssuerError:
            return True

    def on_chain_start(
        self,
        serialized: object,
        inputs: object,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        """Take over the branch of the run above, or make one for an agent."""
        above = self._runs.get(parent_run_id) if parent_run_id else None
        marked = str((metadata or {}).get(_AGENT) or "")
        agent_name = name if name in self._agents else marked
        if above is None:  # the outermost graph
            run = _GraphRun(self.spawner.current_or_root, agent_name, is_agent=False)
        elif agent_name and agent_name != above.name:
            branch = self.spawner.branch(agent_name, above.branch)
            run = _GraphRun(branch, agent_name, is_agent=True)
        else:
            run = above._replace(is_agent=False)
        with self._lock:
            self._runs[run_id] = run

    def on_chain_end(self, outputs: object, *, run_id: UUID, **options: Any) -> None:
        """End the branch of an agent."""
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **options: Any) -> None:
        """End the branch of an agent."""
        self._end(run_id)

    def on_tool_start(
        self,
        serialized: object,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **options: Any,
    ) -> None:
        """Let the tool run as the agent that calls it."""
        self._inherit(run_id, parent_run_id)

    def on_tool_end(self, output: object, *, run_id: UUID, **options: Any) -> None:
        """Forget the run of a tool."""
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **options: Any) -> None:
        """Forget the run of a tool."""
        self._end(run_id)

    def on_retriever_start(
        self,
        serialized: object,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **options: Any,
    ) -> None:
        """Let the retriever run as the agent that calls it."""
        self._inherit(run_id, parent_run_id)

    def on_retriever_end(self, documents: object, *, run_id: UUID, **options: Any) -> None:
        """Forget the run of a retriever."""
        self._end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **options: Any) -> None:
        """Forget the run of a retriever."""
        self._end(run_id)

    def _inherit(self, run_id: UUID, parent_run_id: UUID | None) -> None:
        above = self._runs.get(parent_run_id) if parent_run_id else None
        if above is not None:
            with self._lock:
                self._runs[run_id] = above._replace(is_agent=False)

    def _end(self, run_id: UUID) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None)
        if run is not None and run.is_agent:
            run.branch.end()


@contextmanager
def mcp_tools(
    handler: BranchCallbackHandler,
    url: str,
    *,
    ca: TrustedRoot = None,
    socket: Path | str | None = None,
) -> Iterator[list[StructuredTool]]:
    """Make tools for `create_agent` of those that `spawner.run` may use at an MCP endpoint.

    Each call of a tool presents the token of the agent that calls it. If the gateway refuses the
    call, the model reads why. The tools work until the block ends.

    Args:
        handler: Knows the branches.
        url: The URL of an endpoint of the gateway.
        ca, socket: As for `crewgate.mcp.client`.

    Raises:
        ConfigurationError: The file `ca` cannot be read, or has no certificate.
        crewgate.mcp.MCPError: The gateway refuses the list of tools, or cannot be reached.
    """
    with BranchSessions(
        handler.spawner, url, ca=ca, socket=socket, current=lambda: handler.current
    ) as sessions:
        yield [_tool(sessions, each) for each in sessions.tools()]


def _tool(sessions: BranchSessions, tool: Tool) -> StructuredTool:
    def call(**arguments: Any) -> str:
        return _text(sessions.call_tool_blocking(tool.name, arguments))

    async def call_async(**arguments: Any) -> str:
        return _text(await sessions.call_tool(tool.name, arguments))

    return StructuredTool(
        name=tool.name,
        description=tool.description or "",
        args_schema=input_schema(tool),
        func=call,
        coroutine=call_async,
        handle_tool_error=True,  # the model reads the error
    )


def _text(result: CallToolResult) -> str:
    """Return the content of a result.

    Raises:
        ToolException: The result is an error.
    """
    if is_error(result):
        raise ToolException(content_text(result))
    return content_text(result)
