"""Makes the routes of requests from tools, upstreams and listeners, and finds contradictions.

The gateway routes by them, and `crewgate check` reports their mistakes.
"""

from collections.abc import Iterator

from crewgate.config.model import Config
from crewgate.config.tool import ToolConfig
from crewgate.config.upstream import UpstreamConfig
from crewgate.core.policy.rewriting import PathRewrite, RewriteChecker, UpstreamRoute
from crewgate.core.policy.routing import RoutePattern, Router, named_host


def router(config: Config) -> Router:
    """Return the router from requests to tools; raise ValueError if two tools are ambiguous."""
    return Router(
        RoutePattern(tool.method, tool.path, f'tool."{tool.name}"', tool.hosts)
        for tool in config.tools
    )


def rewrite(config: Config, tool: ToolConfig) -> PathRewrite:
    """Return the rewrite of a tool's paths at its server; raise ValueError if it is impossible."""
    return PathRewrite(tool.path, _upstreams(config)[tool.upstream].base, tool.rewrite)


def servers(config: Config) -> RewriteChecker:
    """Return the check of rewritten paths; raise ValueError if two tools share a server's path."""
    upstreams = _upstreams(config)
    return RewriteChecker(
        UpstreamRoute(
            tuple(
                (endpoint, upstreams[tool.upstream].authority(endpoint))
                for endpoint in upstreams[tool.upstream].endpoints
            ),
            RoutePattern(tool.method, path.route, f'tool."{tool.name}"'),
            bool(tool.hosts) or not path.is_plain,
        )
        for tool, path in ((tool, rewrite(config, tool)) for tool in config.tools)
    )


def mistakes(config: Config) -> Iterator[str]:
    """Yield every contradiction, as a line for the operator."""
    try:
        router(config)
    except ValueError as error:
        yield str(error)
    known = _upstreams(config)
    found = [*_bad_rewrites(config, known)]
    yield from found
    yield from _unserved(config)
    if not found and all(tool.upstream in known for tool in config.tools):
        try:
            servers(config)
        except ValueError as error:
            yield str(error)


def _bad_rewrites(config: Config, known: dict[str, UpstreamConfig]) -> Iterator[str]:
    for tool in config.tools:
        if tool.upstream not in known:
            continue
        where = f'tool."{tool.name}".rewrite = "{tool.rewrite}"'
        try:
            rewrite(config, tool)
        except ValueError as error:
            yield f'{where} for the path "{tool.path}": {error}'
            continue
        if tool.rewrite == tool.path:
            yield f"{where} is the path itself; leave it out, or write the path at the server"


def _unserved(config: Config) -> Iterator[str]:
    served = [frozenset(host.lower().encode() for host in each.hosts) for each in config.listeners]
    if not served or not all(served):
        return
    for tool in config.tools:
        for host in tool.hosts:
            name = host.lower().encode()
            if not any(
                named_host(name, hosts) or any(named_host(each, {name}) for each in hosts)
                for hosts in served
            ):
                yield (
                    f'tool."{tool.name}".hosts: no listener serves "{host}"; add it to the hosts '
                    "of one, or the tool is never called"
                )


def _upstreams(config: Config) -> dict[str, UpstreamConfig]:
    return {upstream.name: upstream for upstream in config.upstreams}
