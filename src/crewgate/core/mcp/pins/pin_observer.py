"""Compares what the response of an MCP server lists with the pinned tools.

It stands before the filter of the caller, so it sees the tools that the caller may not use as well.
"""

from crewgate import limits
from crewgate.core.mcp.list_entries import list_entries
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.pins import tool_definitions
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.mcp.response_rewriting import ServerMessage, with_result
from crewgate.core.slices import Slices


class PinObserver:
    """A `MessageEditor` for the response to one request, or without a method for any response.

    It leaves instructions out that the server has changed, if the endpoint blocks them.
    """

    def __init__(
        self,
        endpoint: str,
        pins: WorkerPins,
        method: str,
        *,
        may_refuse: bool,
        is_first_page: bool,
    ) -> None:
        """`may_refuse`: the caller is not in observe mode."""
        self._endpoint = endpoint
        self._pins = pins
        self._method = method
        self._may_refuse = may_refuse
        self._is_first_page = is_first_page

    def __call__(self, message: ServerMessage) -> Slices[bytes | None]:
        """Compare a message with the pins; return it if it changed, and else None.

        Raises:
            UnusableResponseError: The list of tools is not a list, or exceeds a limit.
        """
        result = message.member("result") if message.kind == "response" else None
        if result is None or not self._pins.is_pinned(self._endpoint):
            return None
        if self._method in {"", "tools/list"} and message.member("result", "tools"):
            yield from self._compare(message, result)
        if self._method not in {"", "initialize", "server/discover"}:
            return None
        if message.member("result", "capabilities") is None:
            return None
        self._pins.observe_instructions(self._endpoint, result)
        if self.shows(INSTRUCTIONS):
            return None
        return with_result(message, tool_definitions.without_instructions(result))

    def shows(self, name: str) -> bool:
        """Return whether a list may show a tool."""
        return not (self._may_refuse and self._pins.refusal_of(self._endpoint, name))

    def _compare(self, message: ServerMessage, result: bytes) -> Slices[None]:
        entries = yield from list_entries(result, ListKind.TOOLS)
        for start in range(0, len(entries), limits.mcp_slice_entries):
            if start:
                yield
            part = entries[start : start + limits.mcp_slice_entries]
            self._pins.observe(self._endpoint, [entry.text for entry in part])
        is_last_page = message.member("result", "nextCursor") is None
        if self._is_first_page and is_last_page:
            self._pins.observe_whole(self._endpoint, {entry.name for entry in entries})
