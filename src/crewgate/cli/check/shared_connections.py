"""Upstreams whose connections carry the calls of several crews.

A server of HTTP/1.1 that counts a body wrong answers a call with what another one asked for; no
gateway can tell. Over HTTP/2 each answer names its call, but a server that breaks a rule of the
whole connection, or leaves a frame without its end, ends or delays all calls that are under way
on it.
"""

from collections.abc import Iterator

from crewgate.config import Config, UpstreamConfig
from crewgate.core.policy.scope import matches

_BY_PROTOCOL = {
    "http/1.1": ("follow each other on", "confuse answers"),
    "h2": ("share", "break or stall a connection"),
}


def shared_connections(config: Config) -> Iterator[str]:
    """A recommendation for each such upstream, one line each."""
    for upstream in config.upstreams:
        if upstream.reuse != "shared":
            continue
        how, harm = _BY_PROTOCOL[upstream.protocol]
        crews = _callers(config, upstream)
        if len(crews) > 1:
            named = f"{', '.join(crews[:-1])} and {crews[-1]}"
            yield (
                f"upstream {upstream.name}: calls of the crews {named} {how} its connections; "
                f'reuse = "crew" (or "branch") keeps them apart, should its servers ever {harm}'
            )


def _callers(config: Config, upstream: UpstreamConfig) -> list[str]:
    """The crews that may be granted a tool of it, or may cross to one."""
    tools = [tool.name for tool in config.tools if tool.upstream == upstream.name]
    granted = [(crew.name, crew.tools) for crew in config.crews]
    granted += [(crossing.source, crossing.tools) for crossing in config.crossings]
    return sorted(
        {
            name
            for name, patterns in granted
            if any(matches(pattern, tool) for pattern in patterns for tool in tools)
        }
    )
