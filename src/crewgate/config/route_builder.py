"""Makes the routes of requests from tools, upstreams and listeners, and finds contradictions.

The gateway routes by them, and `crewgate check` reports their mistakes.
"""

from collections.abc import Iterator
from typing import NamedTuple

from crewgate.config.a2a import A2AConfig
from crewgate.config.mcp import MCPConfig
from crewgate.config.mcp_group import MCPGroupConfig
from crewgate.config.model import Config
from crewgate.config.tool import ToolConfig
from crewgate.config.upstream import UpstreamConfig
from crewgate.core.policy.rewriting import PathRewrite, RewriteChecker, UpstreamRoute
from crewgate.core.policy.routing import RoutePattern, Router, named_host

_MCP_METHODS = ("POST", "GET", "DELETE")

# A part of the configuration that has a path.
Served = ToolConfig | MCPConfig | A2AConfig


class ServedRoute(NamedTuple):
    """A method of a tool or of an endpoint; `label` names its table in errors.

    That of a `group` leads to its first endpoint.
    """

    method: str
    config: Served
    label: str
    group: MCPGroupConfig | None = None


def served_routes(config: Config) -> tuple[ServedRoute, ...]:
    """Return all routes; the router finds the position of each."""
    tools = (ServedRoute(tool.method, tool, f'tool."{tool.name}"') for tool in config.tools)
    return (
        *tools,
        *(
            ServedRoute(method, endpoint, f"mcp.{endpoint.name}")
            for endpoint in config.mcp
            for method in _MCP_METHODS
        ),
        *(
            ServedRoute(method, members[0], f"mcp_group.{group.name}", group)
            for group in config.mcp_groups
            if (members := config.members_of(group))
            for method in _MCP_METHODS
        ),
        *(
            ServedRoute(method, route, f"a2a.{agent.name}.{key}")
            for agent in config.a2a
            for method, route, key in agent.routes()
        ),
    )


def tables(config: Config) -> dict[str, Served]:
    """Return the tables that routes come from, by their names in errors."""
    return {
        **{f'tool."{tool.name}"': tool for tool in config.tools},
        **{f"mcp.{endpoint.name}": endpoint for endpoint in config.mcp},
        **{f"a2a.{agent.name}": agent for agent in config.a2a},
    }


def router(config: Config) -> Router:
    """Return the router to `served_routes`; raise ValueError if two of them are ambiguous."""
    return Router(
        RoutePattern(route.method, route.config.path, route.label, route.config.hosts)
        for route in served_routes(config)
    )


def rewrite(config: Config, served: Served) -> PathRewrite:
    """Return the rewrite of paths at the server; raise ValueError if it is impossible."""
    return PathRewrite(served.path, _upstreams(config)[served.upstream].base, served.rewrite)


def servers(config: Config) -> RewriteChecker:
    """Return the check of rewritten paths; raise ValueError if two tools share a server's path."""
    upstreams = _upstreams(config)
    return RewriteChecker(
        UpstreamRoute(
            tuple(
                (endpoint, upstreams[route.config.upstream].authority(endpoint))
                for endpoint in upstreams[route.config.upstream].endpoints
            ),
            RoutePattern(route.method, path.route, route.label),
            bool(route.config.hosts) or not path.is_plain,
        )
        for route, path in (
            (route, rewrite(config, route.config)) for route in served_routes(config)
        )
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
    if not found and all(each.upstream in known for each in _labelled(config).values()):
        try:
            servers(config)
        except ValueError as error:
            yield str(error)


def _labelled(config: Config) -> dict[str, Served]:
    """Return the tools and endpoints by the names of their tables in errors."""
    return {route.label: route.config for route in served_routes(config)}


def _bad_rewrites(config: Config, known: dict[str, UpstreamConfig]) -> Iterator[str]:
    for label, served in _labelled(config).items():
        if served.upstream not in known:
            continue
        where = f'{label}.rewrite = "{served.rewrite}"'
        try:
            rewrite(config, served)
        except ValueError as error:
            yield f'{where} for the path "{served.path}": {error}'
            continue
        if served.rewrite == served.path:
            yield f"{where} is the path itself; leave it out, or write the path at the server"


def _unserved(config: Config) -> Iterator[str]:
    hosts = [frozenset(host.lower().encode() for host in each.hosts) for each in config.listeners]
    if not hosts or not all(hosts):
        return
    for label, served in tables(config).items():
        for host in served.hosts:
            name = host.lower().encode()
            if not any(
                named_host(name, each) or any(named_host(one, {name}) for one in each)
                for each in hosts
            ):
                yield (
                    f'{label}.hosts: no listener serves "{host}"; add it to the hosts '
                    "of one, or the tool is never called"
                )


def _upstreams(config: Config) -> dict[str, UpstreamConfig]:
    return {upstream.name: upstream for upstream in config.upstreams}
