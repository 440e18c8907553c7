"""Finds limits on calls that no call can reach, and limits that need too much of the table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.config.call_limit import CallLimitConfig
from crewgate.config.crew import CrewConfig
from crewgate.config.judged_tools import JudgedTool, covers, judged_tools
from crewgate.config.model import Config
from crewgate.core.policy.call_limits import LimitScopes
from crewgate.core.policy.policy import ToolPolicy


class _Crew(NamedTuple):
    """A crew as limits see it."""

    name: str
    roles: dict[str, object]


def limit_mistakes(config: Config) -> Iterator[str]:
    """Yield a problem for each limit that no call can reach, and if there are too many of them."""
    return mistakes_of(config.call_limits, judged_tools(config), config.crews)


def mistakes_of(
    limits_: Sequence[CallLimitConfig],
    tools: Sequence[JudgedTool | ToolPolicy],
    crews: Sequence[CrewConfig],
    where: str = "limit",
) -> Iterator[str]:
    """Yield the problems of limits on calls of these tools by these crews.

    `where` is the name of the table of all limits.
    """
    for limit in limits_:
        for key, text in _unknown(limit, tools, {crew.name: crew for crew in crews}):
            yield f"{where}.{limit.name}.{key}{text}"
    seen = [_Crew(crew.name, {role.name: None for role in crew.roles}) for crew in crews]
    cells, words = LimitScopes([each.limit for each in limits_], tools, seen).sizes()
    if cells > limits.table_limit_cells:
        yield (
            f"{where}: all limits together count {cells:,} tools, crews and roles; at most "
            f"{limits.table_limit_cells:,} are possible: limit fewer tools, or per crew or machine"
        )
    if words > limits.table_branch_limit_words:
        yield (
            f"{where}: the limits per branch and per run need {words} words for each branch; at "
            f"most {limits.table_branch_limit_words} are possible. A rate needs one, and "
            "`concurrent` needs one for each call"
        )


def _unknown(
    limit: CallLimitConfig,
    tools: Sequence[JudgedTool | ToolPolicy],
    crews: Mapping[str, CrewConfig],
) -> Iterator[tuple[str, str]]:
    """Yield the key and the text of each problem with what a limit is about."""
    if limit.crew and limit.crew not in crews:
        known = ", ".join(sorted(crews)) or "none"
        yield "crew", f' = "{limit.crew}": no such crew; known: {known}'
        return
    concerned = [crews[limit.crew]] if limit.crew else list(crews.values())
    roles = {role.name for crew in concerned for role in crew.roles}
    if limit.role and limit.role not in roles and all(crew.roles for crew in concerned):
        known = ", ".join(sorted(roles)) or "none"
        yield "role", f' = "{limit.role}": no crew lists this role; known: {known}'
    for pattern in limit.tools:
        if not any(covers(pattern, tool) for tool in tools):
            names = ", ".join(tool.name for tool in tools) or "none"
            yield "tools", f': "{pattern}" covers no tool; the tools are: {names}'
