"""Takes out of the messages of an MCP server what one caller may not see."""

from collections.abc import Callable, Collection, Mapping

import msgspec

from crewgate.core.mcp import result_filter
from crewgate.core.mcp.list_kind import LIST_METHODS, ListKind
from crewgate.core.mcp.response_rewriting import ServerMessage, with_result
from crewgate.core.mcp.result_filter import Allows, CapabilityPath
from crewgate.core.slices import Slices
from crewgate.errors import UnusableResponseError

_DISCOVERY = frozenset({"server/discover", "initialize"})


class CallerView(msgspec.Struct, frozen=True):
    """The part of an endpoint that a caller may see.

    Attributes:
        allows: For each kind of list, whether the caller may use what has a name or URI. The ends
            of resource templates are not known, so for these: whether it may use any such URI.
        ttl_ms_max: How long its client may keep a list; None for a legacy client.
        versions: The versions of MCP that the endpoint serves.
        withheld: The capabilities that the endpoint does not serve, as paths of members.
        shows_instructions: Whether it sees the server's instructions, which can name any tool.
        seal_cursor: Hides the cursor of a page, which can contain the name of a tool.
    """

    allows: Mapping[ListKind, Allows]
    ttl_ms_max: int | None
    versions: Collection[str]
    withheld: Collection[CapabilityPath] = ()
    shows_instructions: bool = True
    seal_cursor: Callable[[str], str] | None = None


class MessageFilter:
    """A `MessageEditor` for the response to one request.

    Without a method it is one for the stream of a session, where the response to any request can
    arrive again. There it finds out from a result itself what it is.
    """

    def __init__(self, method: str, view: CallerView) -> None:
        self._method = method
        self._view = view

    def __call__(self, message: ServerMessage) -> Slices[bytes | None]:
        """Return the message as the caller may see it: None for no change, b"" for no message.

        Raises:
            UnusableResponseError: The result is not that of its method, or exceeds a limit.
        """
        if message.kind == "notification":
            return self._notification(message)
        result = message.member("result") if message.kind == "response" else None
        filtered = None if result is None else (yield from self._result(result))
        if filtered is None:
            return None
        return with_result(message, filtered)

    def _notification(self, message: ServerMessage) -> bytes | None:
        if message.method != "notifications/resources/updated":
            return None
        may_read = self._view.allows[ListKind.RESOURCES]
        return None if message.uri is not None and may_read(message.uri) else b""

    def _result(self, result: bytes) -> Slices[bytes | None]:
        view, method = self._view, self._method
        kinds = [LIST_METHODS[method]] if method in LIST_METHODS else []
        is_discovery = method in _DISCOVERY
        if not method:
            members = result_filter.member_names(result)
            kinds = [kind for kind in ListKind if kind.member in members]
            is_discovery = "capabilities" in members
        if len(kinds) + is_discovery > 1:
            raise UnusableResponseError("the result has several lists")
        if kinds:
            allows = view.allows[kinds[0]]
            return (
                yield from result_filter.filter_list(
                    result, kinds[0], allows, view.ttl_ms_max, view.seal_cursor
                )
            )
        if is_discovery:
            return result_filter.filter_discovery(
                result,
                view.withheld,
                view.versions,
                view.ttl_ms_max,
                shows_instructions=view.shows_instructions,
            )
        if not method or method == "resources/read":
            may_read = view.allows[ListKind.RESOURCES]
            return (yield from result_filter.filter_contents(result, may_read, view.ttl_ms_max))
        return None
