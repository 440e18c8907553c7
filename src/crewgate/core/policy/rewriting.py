"""Where a judged request goes at its tool's server, and whether that is the tool's path there.

A route may have another path at its server: a base path before it, its literals written anew. What
stands for `{name}` and `*` is kept byte for byte. Then two things have to agree: the path that was
judged and the path that is forwarded. Else a caller would reach one tool's path at a server through
another tool's route. Knows neither requests nor sockets.
"""

import re
from collections.abc import Hashable, Iterable

import msgspec

from crewgate.core.policy.routing import PathPattern, RoutePattern, Router, parse_path

_NAME = re.compile(r"\{(\w+)\}", re.ASCII)


class PathRewrite:
    """The way of one route's paths to its server."""

    def __init__(self, path: str, base: str = "", to: str | None = None) -> None:
        """`path` is the route's, `base` the server's without a last slash, `to` instead of `path`.

        ValueError says what is wrong with them.
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

    def __repr__(self) -> str:
        return f"<Rewrite to {self.route}>"

    def __call__(self, path: bytes) -> bytes:
        """The path at the server of one that the route matches, as it was sent."""
        raw = path[1:].split(b"/")
        kept = iter([raw[at] for at in self._kept])
        found = [next(kept) if segment is None else segment for segment in self._there]
        return b"/" + b"/".join(found + raw[self._length :])


class UpstreamRoute(msgspec.Struct, frozen=True):
    """A tool's route as its servers have it. `servers` is whatever tells one from another.

    `is_moved`: requests reach it in another way than by this path on any host.
    """

    servers: tuple[Hashable, ...]
    route: RoutePattern
    is_moved: bool


class UpstreamRouteIndex:
    """Which tool a path is at the servers, where the gateway's own routes do not say it."""

    def __init__(self, tools: Iterable[UpstreamRoute]) -> None:
        """ValueError names two tools whose paths at one server a request could both mean."""
        given = list(tools)
        moved = {server for tool in given if tool.is_moved for server in tool.servers}
        self._of: dict[int, list[_Server]] = {}
        for server in moved:
            there = [at for at, tool in enumerate(given) if server in tool.servers]
            table = _Server({at: given[at].route for at in there})
            for at in there:
                self._of.setdefault(at, []).append(table)

    def __repr__(self) -> str:
        return f"<UpstreamRouteIndex of {len(self._of)} tools>"

    def agree(self, tool: int, method: bytes, path: bytes) -> bool:
        """Whether each server of the tool with this number takes a path of its own for the tool's.

        `path` is the path at the server.
        """
        return all(table.is_of(tool, method, path) for table in self._of.get(tool, ()))


class _Server:
    """The routes of one server. Tools whose paths there are the same are one route."""

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
