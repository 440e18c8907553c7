"""Numbers the tools that the gate judges: each `[tool.NAME]`, and the parts of endpoints.

An endpoint has one number for itself and for all of its parts that have no table of their own, and
one for each part that has one.
"""

from collections.abc import Iterator
from typing import NamedTuple

from crewgate.config.a2a import A2AConfig
from crewgate.config.mcp import MCPConfig
from crewgate.config.model import Config
from crewgate.core.mcp import tool_ids
from crewgate.core.policy.policy import ToolPolicy
from crewgate.core.policy.scope import matches, reaches


class JudgedTool(NamedTuple):
    """A tool as the gate knows it; `is_endpoint`: each call names the part that it uses there."""

    name: str
    price: int
    owner: str
    upstream: str
    observe: bool
    stale_open: bool
    is_endpoint: bool = False
    requires_binding: bool = False


def judged_tools(config: Config) -> tuple[JudgedTool, ...]:
    """Return the tools of a configuration; the position of each is its number in the policy."""
    tools = (
        JudgedTool(
            tool.name,
            tool.price,
            tool.owner,
            tool.upstream,
            tool.observe,
            stale_open=tool.when_stale == "open",
            requires_binding=tool.binding == "required",
        )
        for tool in config.tools
    )
    return (
        *tools,
        *(part for endpoint in config.mcp for part in _parts(endpoint)),
        *(part for agent in config.a2a for part in _methods(agent)),
    )


def _methods(agent: A2AConfig) -> Iterator[JudgedTool]:
    itself = _endpoint(agent)
    yield itself
    for method in agent.methods:
        name = f"{agent.name}.{method.name}"
        yield itself._replace(name=name, price=method.price, is_endpoint=False)


def _parts(endpoint: MCPConfig) -> Iterator[JudgedTool]:
    itself = _endpoint(endpoint)
    yield itself
    for part_id, part in endpoint.parts.items():
        yield itself._replace(name=part_id, price=part.price, is_endpoint=False)


def _endpoint(endpoint: MCPConfig | A2AConfig) -> JudgedTool:
    return JudgedTool(
        endpoint.name,
        endpoint.price,
        endpoint.owner,
        endpoint.upstream,
        endpoint.observe,
        stale_open=endpoint.when_stale == "open",
        is_endpoint=True,
        requires_binding=endpoint.binding == "required",
    )


def covers(pattern: str, tool: JudgedTool | ToolPolicy) -> bool:
    """Return whether a pattern covers a tool, or something that an endpoint may have."""
    if matches(pattern, tool.name):
        return True
    is_possible = tool.is_endpoint and tool_ids.is_possible(pattern, tool.name)
    return is_possible and reaches(pattern, tool.name)
