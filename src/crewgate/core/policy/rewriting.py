"""Rewrites a request's path for its tool's server, and checks that the new path is that tool's.

A route may have another path at its server: with a base path before it, or with other literals.
The segments that match `{name}` and `*` are kept byte for byte. The path that the gate decided
about and the path that is forwarded must mean the same tool; otherwise a caller would reach one
tool's path at a server through another tool's route.
"""

import re
from collections.abc import Hashable, Iterable

import msgspec

from crewgate.core.policy.routing import PathPattern, RoutePattern, Router, parse_path

_NAME = re.compile(r"\{(\w+)\}", re.ASCII)


class PathRewrite:
    """The rewrite of one route's paths for its server."""

    def __init__(self, path: str, base: str = "", to: str | None = None) -> None:
        """`base` comes before the path at the server, and `to`, if given, replaces `path` there.

        `base` has no slash at its end. ValueError says what is wrong.
        """
        self.route = base + (path if to is None else to)
        self.is_plain = self.route == path
        here, there = parse_path(path), parse_path(self.route)
        if _NAME.findall(path) != _NAME.findall(self.route):
            raise ValueError(
                "it must have the same {names} as the path, in the same order: each stands for "
                "what was asked for"
            )
        if here.prefix != there.prefix:
            raise ValueError('both end in "/*", or neither does: what follows is kept as it came')
        self._kept = [at for at, segment in enumerate(here.segments) if segment is None]
        self._length = len(here.segments)
        self._there = there.segments

    def __call__(self, path: bytes) -> bytes:
        """Return the path at the server for a path that the route matches, as it was sent."""
        raw = path[1:].split(b"/")
        kept = iter([raw[at] for at in self._kept])
        found = [next(kept) if segment is None else segment for segment in self._there]
        return b"/" + b"/".join(found + raw[self._length :])


class UpstreamRoute(msgspec.Struct, frozen=True):
    """The route of a tool at its servers; `servers` are values that differ for different servers.

    `is_moved`: the gateway's route has another path than this one, or matches on some hosts only.
    """

    servers: tuple[Hashable, ...]
    route: RoutePattern
    is_moved: bool


class RewriteChecker:
    """Finds the tool of a path at a server, for servers that have a moved route.

    `tools` are the numbers of the tools of such servers; `agree` is True for all others.
    """

    def __init__(self, tools: Iterable[UpstreamRoute]) -> None:
        """ValueError names two tools whose routes at one server could match one request."""
        given = list(tools)
        moved = {server for tool in given if tool.is_moved for server in tool.servers}
        self._of: dict[int, list[_Server]] = {}
        for server in moved:
            there = [at for at, tool in enumerate(given) if server in tool.servers]
            table = _Server({at: given[at].route for at in there})
            for at in there:
                self._of.setdefault(at, []).append(table)
        self.tools = frozenset(self._of)

    def agree(self, tool: int, method: bytes, path: bytes) -> bool:
        """Return whether all servers of `tool` take `path`, a path there, for that tool's."""
        return all(table.is_of(tool, method, path) for table in self._of.get(tool, ()))


class _Server:
    """The routes of one server. Tools with the same path there share one route."""

    def __init__(self, routes: dict[int, RoutePattern]) -> None:
        tools: dict[tuple[str, PathPattern], set[int]] = {}
        for tool, route in routes.items():
            tools.setdefault((route.method, parse_path(route.path)), set()).add(tool)
        self._tools = list(tools.values())
        try:
            self._router = Router(
                msgspec.structs.replace(routes[min(same)], hosts=()) for same in self._tools
            )
        except ValueError as error:
            raise ValueError(f"at their server: {error}") from error

    def is_of(self, tool: int, method: bytes, path: bytes) -> bool:
        found = self._router.find(method, path)
        return found >= 0 and tool in self._tools[found]
