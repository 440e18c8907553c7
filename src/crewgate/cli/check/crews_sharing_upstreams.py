"""Finds upstreams whose connections carry the calls of several crews.

If a server of HTTP/1.1 miscounts the length of a body, it answers a call with the answer to another
one; no gateway can notice. Over HTTP/2 each answer names its call. But a server that breaks a rule
of the whole connection, or leaves a frame unfinished, ends or delays all calls on the connection.
"""

from collections.abc import Iterator, Sequence

from crewgate.config import Config, UpstreamConfig
from crewgate.config.judged_tools import covers, judged_tools

_BY_PROTOCOL = {
    "http/1.1": ("use its connections one after another", "confuse answers"),
    "h2": ("use its connections at the same time", "break or stall a connection"),
}


def crews_in_words(crews: Sequence[str]) -> str:
    """Return `crew a`, or `crews a, b and c`; there is at least one."""
    return (
        f"crew {crews[0]}" if len(crews) == 1 else f"crews {', '.join(crews[:-1])} and {crews[-1]}"
    )


def shared_connections(config: Config) -> Iterator[str]:
    """Yield a recommendation for each such upstream."""
    for upstream in config.upstreams:
        if upstream.reuse != "shared":
            continue
        how, harm = _BY_PROTOCOL[upstream.protocol]
        crews = _callers(config, upstream)
        if len(crews) > 1:
            yield (
                f"upstream {upstream.name}: the {crews_in_words(crews)} {how}; "
                f'reuse = "crew" (or "branch") separates them, in case its servers {harm}'
            )


def _callers(config: Config, upstream: UpstreamConfig) -> list[str]:
    """Return the crews that may call a tool of the upstream, by a grant or by a crossing."""
    tools = [tool for tool in judged_tools(config) if tool.upstream == upstream.name]
    granted = [(crew.name, crew.tools) for crew in config.crews]
    granted += [(crossing.source, crossing.tools) for crossing in config.crossings]
    return sorted(
        {
            name
            for name, patterns in granted
            if any(covers(pattern, tool) for pattern in patterns for tool in tools)
        }
    )
