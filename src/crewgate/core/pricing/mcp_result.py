"""How a message of an MCP server ends the request of a client, as far as its price depends on that.

A server can answer `tools/call`, `prompts/get` and `resources/read` with a question (MCP
2026-07-28, "Multi Round-Trip Requests"). The client then sends the same request again, with the
answers. So one use of a tool can be several calls, of which only the last one is complete.
"""

import enum
from collections import OrderedDict

import msgspec

from crewgate import limits


class ResultState(enum.Enum):
    """The state of a request after a message of its server."""

    COMPLETE = enum.auto()
    UNFINISHED = enum.auto()  # the server asks for more input, and the client will call again
    FAILED = enum.auto()  # a JSON-RPC error, or a result with `isError`


class _Message(msgspec.Struct):
    """The members of a message that are read; all others are skipped."""

    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Result(msgspec.Struct):
    """The members of a result that are read; all others are skipped."""

    resultType: object = None  # noqa: N815 - MCP's name
    isError: object = None  # noqa: N815 - MCP's name


_message = msgspec.json.Decoder(_Message)
_result = msgspec.json.Decoder(_Result)


def result_state(text: bytes) -> ResultState | None:
    """Return the state of a message's request; None if the message is no response to one."""
    try:
        message = _message.decode(text)
        if message.error:
            return ResultState.FAILED
        if not message.result:
            return None
        result = _result.decode(message.result)
    except (msgspec.DecodeError, RecursionError):
        return None
    if result.isError is True:
        return ResultState.FAILED
    if result.resultType == "input_required":
        return ResultState.UNFINISHED
    return ResultState.COMPLETE


class UnfinishedCalls:
    """Counts the calls that stay unfinished, by the branch and the tool that it uses.

    They cost nothing, up to `limits.unfinished_calls_max` in a row: a branch that never completes a
    call would otherwise use a tool for free. The branches and tools of a process are bounded; the
    one whose last call is the oldest is forgotten.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[bytes, str], int] = OrderedDict()

    def is_free(self, branch: bytes, tool: str) -> bool:
        """Count an unfinished call; return whether it costs nothing."""
        key = branch, tool
        count = self._counts.pop(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > limits.unfinished_tools_max:
            self._counts.popitem(last=False)
        return count <= limits.unfinished_calls_max

    def complete(self, branch: bytes, tool: str) -> None:
        """Note a call that is complete: those before it belonged to it."""
        self._counts.pop((branch, tool), None)
