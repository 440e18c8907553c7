"""Gives each agent of the OpenAI Agents SDK (`openai-agents`) a branch of its own.

In the block `with agent_branches(spawner):`, the agent that a program starts runs as the branch
`spawner.run`. Each agent that another one calls as a tool, or hands the conversation to, gets a
branch below. The branch of a tool ends with its run, and so do those of a run's handoffs.

`BranchMCPServer` is the connection to an MCP endpoint of the gateway, for `mcp_servers=` of agents.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

from anyio import CancelScope, to_thread

from crewgate.integrations.branch_sessions import BranchSessions, all_tools
from crewgate.integrations.branch_spawner import BranchSpawner
from crewgate.integrations.sub_agent_branch import BranchPosition, SubAgentBranch
from crewgate.mcp.mcp_http_client import TrustedRoot
from crewgate.runtime.install_hint import install_hint

try:
    from agents import Agent, RunHooks, RunState, UserError
    from agents.lifecycle import RunHooksBase
    from agents.mcp import MCPServer
    from agents.run import (
        AgentRunner,
        get_default_agent_runner,
        set_default_agent_runner,
    )
except ModuleNotFoundError as error:
    hint = install_hint("crewgate.integrations.openai_agents", "openai-agents")
    raise ModuleNotFoundError(hint, name=error.name) from error

from mcp.types import CallToolResult, GetPromptResult, ListPromptsResult, Tool

__all__ = ["BranchMCPServer", "agent_branches"]


@contextmanager
def agent_branches(spawner: BranchSpawner) -> Iterator[None]:
    """Spawn a branch for each agent that another agent starts while the block runs.

    The block replaces the SDK's default runner, so it applies to all runs of the process.
    """
    before = get_default_agent_runner()
    set_default_agent_runner(cast("AgentRunner", _BranchRunner(spawner, before)))
    try:
        yield
    finally:
        set_default_agent_runner(before)


class BranchMCPServer(MCPServer):
    """An MCP endpoint of the gateway, for all agents: each calls with the token of its own branch.

    Use it as `async with`, and pass it in `mcp_servers=` of each agent that needs it. An agent sees
    the tools that its branch may use. If the gateway refuses a call, the model reads why.

    Args:
        spawner: Spawns the branches.
        url: The URL of an endpoint of the gateway.
        ca, socket: As for `crewgate.mcp.client`.
        options: Further arguments of `agents.mcp.MCPServer`.
    """

    def __init__(
        self,
        spawner: BranchSpawner,
        url: str,
        *,
        ca: TrustedRoot = None,
        socket: Path | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._url = url
        self._make = partial(BranchSessions, spawner, url, ca=ca, socket=socket)
        self._opened: BranchSessions | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.cleanup()

    @property
    def name(self) -> str:
        """The URL of the endpoint."""
        return self._url

    async def connect(self) -> None:
        """Make ready for calls; a session opens with the first call of its branch.

        Raises:
            ConfigurationError: The file `ca` cannot be read, or has no certificate.
        """
        await self.cleanup()
        self._opened = self._make()

    async def cleanup(self) -> None:
        """End all sessions."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await to_thread.run_sync(opened.close)

    async def list_tools(
        self,
        run_context: object = None,
        agent: object = None,
    ) -> list[Tool]:
        """Return the tools that the branch of the running agent may use.

        Raises:
            MCPError: The gateway refuses, for example because the branch was revoked.
            IssuerError: The branch cannot be spawned.
        """
        return await self._sessions.call(all_tools)

    async def call_tool(
        self, tool_name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None = None
    ) -> CallToolResult:
        """Call a tool; the model reads a refusal as the result."""
        return await self._sessions.call_tool(tool_name, arguments, meta)

    async def list_prompts(self) -> ListPromptsResult:
        """Return the first page of the prompts that the branch may use; raises as `list_tools`."""
        return await self._sessions.call(lambda client: client.list_prompts())

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None
    ) -> GetPromptResult:
        """Return a prompt; raises as `list_tools`."""
        return await self._sessions.call(lambda client: client.get_prompt(name, arguments))

    @property
    def _sessions(self) -> BranchSessions:
        if self._opened is None:
            raise UserError("the server is not connected: use BranchMCPServer with `async with`")
        return self._opened


class _Run:
    """One run of the SDK, with a branch for each agent that has the conversation in turn."""

    def __init__(self, spawner: BranchSpawner, starting_agent: Agent[Any], given: object) -> None:
        self._spawner = spawner
        self._branches: dict[str, SubAgentBranch] = {}
        self._parent = spawner.current_or_root
        if spawner.is_outside:
            # The agent that the program starts is no sub-agent: it runs as the run itself.
            self._branches[starting_agent.name] = spawner.root
        # A run that continues after an interruption may call tools before any hook.
        resumed = getattr(given, "_current_agent", None) if isinstance(given, RunState) else None
        self._position = BranchPosition(self._branch((resumed or starting_agent).name))
        self._position.enter()

    def give_control_to(self, name: str) -> None:
        """Let the agent `name` run as its own branch."""
        self._position.branch = self._branch(name)

    def leave(self) -> None:
        """Leave the context of the run; tasks that it has started stay in it."""
        self._position.leave()

    def end(self) -> None:
        """End the branches of the agents; the root never ends."""
        for branch in self._branches.values():
            branch.end()

    def _branch(self, name: str) -> SubAgentBranch:
        if name not in self._branches:
            self._branches[name] = self._spawner.branch(name, self._parent)
        return self._branches[name]


class _BranchHooks(RunHooks[Any]):
    """Runs the hooks of the program, and before them gives each agent its branch."""

    def __init__(self, run: _Run, hooks: RunHooks[Any]) -> None:
        self._run, self._hooks = run, hooks
        names = [name for name in dir(RunHooks) if name.startswith("on_")]
        vars(self).update({name: getattr(hooks, name) for name in names})
        vars(self)["on_agent_start"] = self._start

    async def _start(self, context: Any, agent: Any) -> None:
        self._run.give_control_to(agent.name)
        await self._hooks.on_agent_start(context, agent)


class _BranchRunner:
    """A runner of the SDK that gives the agents of each run their branches."""

    def __init__(self, spawner: BranchSpawner, runner: AgentRunner) -> None:
        self._spawner, self._runner = spawner, runner

    async def run(self, starting_agent: Agent[Any], given: Any, **options: Any) -> Any:
        run = self._begin(starting_agent, given, options)
        try:
            return await self._runner.run(starting_agent, given, **options)
        finally:
            run.leave()
            with CancelScope(shield=True):
                await to_thread.run_sync(run.end)

    def run_sync(self, starting_agent: Agent[Any], given: Any, **options: Any) -> Any:
        run = self._begin(starting_agent, given, options)
        try:
            return self._runner.run_sync(starting_agent, given, **options)
        finally:
            run.leave()
            run.end()

    def run_streamed(self, starting_agent: Agent[Any], given: Any, **options: Any) -> Any:
        run = self._begin(starting_agent, given, options)
        try:
            result = self._runner.run_streamed(starting_agent, given, **options)
        finally:
            run.leave()
        loop, task = asyncio.get_running_loop(), result.run_loop_task
        if task is not None:
            task.add_done_callback(lambda _: loop.run_in_executor(None, run.end))
        return result

    def _begin(self, starting_agent: Agent[Any], given: object, options: dict[str, Any]) -> _Run:
        run = _Run(self._spawner, starting_agent, given)
        hooks = options.get("hooks") or RunHooks[Any]()
        if isinstance(hooks, RunHooksBase):  # the SDK refuses others
            options["hooks"] = _BranchHooks(run, hooks)
        return run
