"""The Claude Agent SDK: the hooks say which sub-agent calls, and each call has its branch."""

from typing import Any

import pytest
import trio
from issuer_world import FakeGateway

from crewgate.integrations import BranchSpawner, SubAgentBranch
from crewgate.issuer import SubAgent

sdk = pytest.importorskip("claude_agent_sdk", reason="claude_agent_sdk is not installed")
from mcp.types import CallToolRequestParams  # noqa: E402

from crewgate.integrations import claude_agent  # noqa: E402

URL = "http://127.0.0.1:9/mcp"


class Sessions:
    """Keeps the branches that call, in the place of the sessions."""

    def __init__(self) -> None:
        self.callers: list[SubAgentBranch] = []

    async def call_tool(self, name: str, arguments: Any, branch: SubAgentBranch) -> str:
        self.callers.append(branch)
        return branch.agent.branch


def event(tool_use: str, agent_id: str | None = None) -> dict[str, str]:
    found = {"tool_use_id": tool_use}
    return found if agent_id is None else found | {"agent_id": agent_id, "agent_type": "researcher"}


async def play(branches: Any, tool_use: str) -> Any:
    meta: Any = {"claudecode/toolUseId": tool_use}
    return await branches._call(None, CallToolRequestParams(name="count", _meta=meta))


async def test_a_call_has_the_branch_that_its_hook_names(
    run: SubAgent, gateway: FakeGateway
) -> None:
    """The main agent is the run. A call without a hook, or a second one, is not sent."""
    spawner, sessions = BranchSpawner(run, credits="1"), Sessions()
    branches: Any = claude_agent._ClaudeBranches(spawner, sessions)  # type: ignore[arg-type]
    for tool_use, agent_id in (("1", None), ("2", "a"), ("3", "b"), ("4", "a")):
        assert await branches.before_call(event(tool_use, agent_id), None, None) == {}
    main, a, b, again = [await play(branches, tool_use) for tool_use in "1234"]
    assert main == run.branch
    assert a == again
    assert len({main, a, b}) == 3
    for tool_use in ("1", "9"):
        refused = await play(branches, tool_use)
        assert refused.is_error
        assert "no hook said which agent" in refused.content[0].text
    assert len(sessions.callers) == 4
    await branches.stop({"agent_id": "a"}, None, None)
    assert gateway.revoked == [a]
    await branches.before_call(event("5", "a"), None, None)
    assert await play(branches, "5") not in {a, b, main}


async def test_two_agents_cannot_use_the_same_id(run: SubAgent) -> None:
    """Else one of them would call with the branch of the other."""
    spawner = BranchSpawner(run, credits="1")
    branches: Any = claude_agent._ClaudeBranches(spawner, Sessions())  # type: ignore[arg-type]
    assert await branches.before_call(event("1", "a"), None, None) == {}
    denied = await branches.before_call(event("1", "b"), None, None)
    assert denied["hookSpecificOutput"]["permissionDecision"] == "deny"


def test_the_options_of_the_program_stay(run: SubAgent) -> None:
    """Its servers, and its hooks, which come first."""

    async def hook(*_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return {}

    own: Any = {"PreToolUse": [sdk.HookMatcher(hooks=[hook])], "Stop": []}
    other: Any = {"type": "http", "url": "http://127.0.0.1:8/mcp"}
    given = sdk.ClaudeAgentOptions(hooks=own, mcp_servers={"other": other}, model="m")
    spawner = BranchSpawner(run, credits="1")
    with claude_agent.branch_options(spawner, URL, name="otters", options=given) as options:
        assert set(options.mcp_servers) == {"other", "otters"}
        assert options.model == "m"
        assert [matcher.matcher for matcher in options.hooks["PreToolUse"]] == [
            None,
            "mcp__otters__.*",
        ]
        assert set(options.hooks) == {"PreToolUse", "Stop", "SubagentStart", "SubagentStop"}
    assert given.hooks == own
    with (
        pytest.raises(TypeError, match=r"options\.mcp_servers must be a dict"),
        claude_agent.branch_options(
            spawner, URL, name="otters", options=sdk.ClaudeAgentOptions(mcp_servers="servers.json")
        ),
    ):
        pass
