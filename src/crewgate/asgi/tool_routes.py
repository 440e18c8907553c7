"""Finds the tool of a request: by one name, a table of routes, or the application's function.

Routes work as in the gateway (`core/policy/routing`), on the path that the application will see.
"""

from collections.abc import Callable, Collection, Mapping

from crewgate.core.http_types import Scope
from crewgate.core.policy.routing import RoutePattern, Router
from crewgate.errors import ConfigurationError

ToolOf = Callable[[Scope], str | None]
ToolSelector = str | Mapping[str, str] | ToolOf

NONE = ""  # no tool has this name, so it is refused as unknown


def tool_of(tool: ToolSelector, known: Collection[str]) -> ToolOf:
    """Return a function from an ASGI scope to a tool's name.

    Raises:
        ConfigurationError: `tool` is none of these, a name is not among the `known` tools, there is
            no route, a route cannot be used, or two routes match the same request.
    """
    if not isinstance(tool, str | Mapping) and not callable(tool):
        raise ConfigurationError(
            "CrewgateMiddleware: tool must be a name, a table of routes or a function, not "
            f"{type(tool).__name__}"
        )
    names = [tool] if isinstance(tool, str) else tool.values() if isinstance(tool, Mapping) else ()
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"CrewgateMiddleware: the verifier has no tool {name!r}; correct the name, or add "
                f"the tool to the configuration. Known: {', '.join(sorted(known))}"
            )
    if isinstance(tool, str):
        return lambda _: tool
    if isinstance(tool, Mapping):
        return _routed(tool)
    return tool


def _routed(table: Mapping[str, str]) -> ToolOf:
    """Return the function for a table such as {"POST /search": "search.web"}."""
    if not table:
        raise ConfigurationError(
            'CrewgateMiddleware: tool has no route; write {"POST /search": "search.web"}'
        )
    names = list(table.values())
    try:
        router = Router([_route(line, name) for line, name in table.items()])
    except ValueError as error:
        raise ConfigurationError(f"CrewgateMiddleware: tool: {error}") from error

    def find(scope: Scope) -> str:
        path = scope["path"]
        if "%" in path:
            # The server has decoded the path: decoding it again would give another path.
            return NONE
        index = router.find(scope["method"].encode("latin-1"), path.encode("utf-8", "replace"))
        return names[index] if index >= 0 else NONE

    return find


def _route(line: str, name: str) -> RoutePattern:
    method, space, path = line.partition(" ")
    if not space or not method.isalpha() or not method.isupper():
        raise ValueError(f'{line!r}: expected a method and a path, such as "POST /search"')
    return RoutePattern(method, path, name)
