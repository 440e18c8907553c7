"""Does work in slices to its end."""

from typing import TypeVar

from crewgate.core.mcp.response_rewriting import MCPResponseRewriter
from crewgate.core.slices import Slices

_T = TypeVar("_T")


def whole(work: Slices[_T]) -> _T:
    """The result of work that is done in slices."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: _T = done.value
            return result


def fed(rewriter: MCPResponseRewriter, data: bytes, *, ends: bool) -> bytes:
    """Return the bytes that a client gets for these, once all work on them is done."""
    passed = rewriter.feed(data, ends=ends)
    while rewriter.is_working:
        passed += rewriter.feed(b"", ends=ends)
    return passed
