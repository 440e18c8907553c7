"""Finds limits on calls that no call can reach, and limits that need too much of the table."""

from collections.abc import Iterator
from typing import NamedTuple

from crewgate import limits
from crewgate.config.call_limit import CallLimitConfig
from crewgate.config.judged_tools import covers, judged_tools
from crewgate.config.model import Config
from crewgate.core.policy.call_limits import LimitScopes


class _Crew(NamedTuple):
    """A crew as limits see it."""

    name: str
    roles: dict[str, object]


def limit_mistakes(config: Config) -> Iterator[str]:
    """Yield a problem for each limit that no call can reach, and if there are too many of them."""
    for limit in config.call_limits:
        yield from _unknown(limit, config)
    found = [limit.limit for limit in config.call_limits]
    crews = [_Crew(crew.name, {role.name: None for role in crew.roles}) for crew in config.crews]
    cells, words = LimitScopes(found, judged_tools(config), crews).sizes()
    if cells > limits.table_limit_cells:
        yield (
            f"limit: all limits together count {cells:,} tools, crews and roles; at most "
            f"{limits.table_limit_cells:,} are possible: limit fewer tools, or per crew or machine"
        )
    if words > limits.table_branch_limit_words:
        yield (
            f"limit: the limits per branch and per run need {words} words for each branch; at most "
            f"{limits.table_branch_limit_words} are possible. A rate needs one, and `concurrent` "
            "needs one for each call"
        )


def _unknown(limit: CallLimitConfig, config: Config) -> Iterator[str]:
    where = f"limit.{limit.name}"
    crews = {crew.name: crew for crew in config.crews}
    if limit.crew and limit.crew not in crews:
        known = ", ".join(sorted(crews)) or "none"
        yield f'{where}.crew = "{limit.crew}": no such crew; known: {known}'
        return
    concerned = [crews[limit.crew]] if limit.crew else list(crews.values())
    roles = {role.name for crew in concerned for role in crew.roles}
    if limit.role and limit.role not in roles and all(crew.roles for crew in concerned):
        known = ", ".join(sorted(roles)) or "none"
        yield f'{where}.role = "{limit.role}": no crew lists this role; known: {known}'
    tools = judged_tools(config)
    for pattern in limit.tools:
        if not any(covers(pattern, tool) for tool in tools):
            names = ", ".join(tool.name for tool in tools) or "none"
            yield f'{where}.tools: "{pattern}" covers no tool; the tools are: {names}'
