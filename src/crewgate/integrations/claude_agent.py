"""Gives each sub-agent of the Claude Agent SDK (`claude-agent-sdk`) a branch of its own.

In the block `with branch_options(…) as options:`, the main agent runs as the branch of the program,
and each sub-agent that it starts gets a branch below, which ends with the sub-agent. The SDK says
in a hook which sub-agent calls a tool, and then passes the call to a server in this process. That
server makes the call at the gateway with the token of the sub-agent. So no token gets into the
process of Claude Code.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyio import to_thread
from mcp.server import Server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
)

from crewgate import limits
from crewgate.integrations.branch_sessions import BranchSessions, all_tools
from crewgate.integrations.branch_spawner import BranchSpawner
from crewgate.integrations.sub_agent_branch import SubAgentBranch
from crewgate.mcp.mcp_http_client import TrustedRoot
from crewgate.mcp.sdk import error_result
from crewgate.runtime.install_hint import install_hint

try:
    from claude_agent_sdk import ClaudeAgentOptions, HookMatcher
except ModuleNotFoundError as error:
    hint = install_hint("crewgate.integrations.claude_agent", "claude-agent")
    raise ModuleNotFoundError(hint, name=error.name) from error

__all__ = ["branch_options"]

_TOOL_USE = "claudecode/toolUseId"  # the member of a call's `_meta` with the id of the tool use


@contextmanager
def branch_options(
    spawner: BranchSpawner,
    url: str,
    *,
    name: str,
    options: "ClaudeAgentOptions | None" = None,
    ca: TrustedRoot = None,
    socket: Path | str | None = None,
) -> Iterator[ClaudeAgentOptions]:
    """Make options for `query` or `ClaudeSDKClient` that connect an MCP endpoint of the gateway.

    Claude sees the tools that the main agent may use, as `mcp__NAME__TOOL`. If the gateway refuses
    a call, the model reads why. The options work until the block ends, in an event loop of asyncio.

    Args:
        spawner: Spawns the branches.
        url: The URL of an endpoint of the gateway.
        name: The name of the endpoint in Claude.
        options: The other options of the program; its hooks and servers stay.
        ca, socket: As for `crewgate.mcp.client`.

    Raises:
        ConfigurationError: The file `ca` cannot be read, or has no certificate.
        TypeError: `options.mcp_servers` is the path of a file.
    """
    given = options or ClaudeAgentOptions()
    if not isinstance(given.mcp_servers, dict):
        raise TypeError("options.mcp_servers must be a dict, and not the path of a file")
    with BranchSessions(spawner, url, ca=ca, socket=socket) as sessions:
        branches = _ClaudeBranches(spawner, sessions)
        server: Any = {"type": "sdk", "name": name, "instance": branches.server(name)}
        hooks: dict[Any, Any] = {
            "SubagentStart": HookMatcher(hooks=[branches.start]),
            "SubagentStop": HookMatcher(hooks=[branches.stop]),
            "PreToolUse": HookMatcher(matcher=f"mcp__{name}__.*", hooks=[branches.before_call]),
        }
        before: dict[Any, list[HookMatcher]] = given.hooks or {}
        yield replace(
            given,
            mcp_servers={**given.mcp_servers, name: server},
            hooks=before | {event: [*before.get(event, []), hooks[event]] for event in hooks},
        )


class _ClaudeBranches:
    """The branches of the sub-agents by their ids, and the sub-agents of calls that will follow."""

    def __init__(self, spawner: BranchSpawner, sessions: BranchSessions) -> None:
        self._spawner, self._sessions = spawner, sessions
        self._main = spawner.current_or_root
        self._branches: dict[str, SubAgentBranch] = {}
        self._calls: OrderedDict[str, SubAgentBranch] = OrderedDict()

    def server(self, name: str) -> Server[Any]:
        """Make the server in this process that stands for the endpoint."""
        return Server(name, on_list_tools=self._list, on_call_tool=self._call)

    async def start(self, event: Any, tool_use: str | None, context: Any) -> Any:
        """Make the branch of a sub-agent."""
        self._branch(event)
        return {}

    async def stop(self, event: Any, tool_use: str | None, context: Any) -> Any:
        """End the branch of a sub-agent; if the sub-agent continues later, it gets another one."""
        branch = self._branches.pop(event["agent_id"], None)
        if branch is not None:
            await to_thread.run_sync(branch.end)
        return {}

    async def before_call(self, event: Any, tool_use: str | None, context: Any) -> Any:
        """Note which agent makes the call of a tool."""
        branch = self._branch(event)
        if self._calls.setdefault(event["tool_use_id"], branch) is not branch:
            return _denial("Another agent makes a call with the same id now.")
        while len(self._calls) > limits.claude_calls_max:
            self._calls.popitem(last=False)
        return {}

    def _branch(self, event: Mapping[str, Any]) -> SubAgentBranch:
        """Return the branch of the agent that an event names; make it if there is none."""
        agent_id = event.get("agent_id")
        if agent_id is None:
            return self._main
        if agent_id not in self._branches:
            role = event.get("agent_type") or "agent"
            self._branches[agent_id] = self._spawner.branch(role, self._main)
        return self._branches[agent_id]

    async def _list(self, context: object, params: object) -> ListToolsResult:
        return ListToolsResult(tools=await self._sessions.call(all_tools, self._main))

    async def _call(self, context: object, params: CallToolRequestParams) -> CallToolResult:
        tool_use: object = (params.meta or {}).get(_TOOL_USE)
        branch = self._calls.pop(str(tool_use), None)
        if branch is None:
            return error_result("The call was not sent: no hook said which agent makes it.")
        return await self._sessions.call_tool(params.name, params.arguments, branch=branch)


def _denial(reason: str) -> dict[str, Any]:
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
    }
