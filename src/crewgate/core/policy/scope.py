"""Compares tool names with the patterns of grants and ceilings, and patterns with patterns.

A name is segments of [A-Za-z0-9_-] joined by dots or colons; case matters. A pattern is a name, or
a name with a trailing `.*`: `search.*` covers every name below `search`, at any depth, and not
`search` itself. `*` alone is not a pattern: it would grant tools that do not exist yet. A colon
separates kinds of things at an endpoint: `files.*` does not cover `files:prompts.greet`.

The gate has the same rules in C (`claim_text.h`), and the tests compare the two.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from crewgate import limits

TOOL_NAME_SYNTAX = re.compile(r"[A-Za-z0-9_-]+(?:[.:][A-Za-z0-9_-]+)*")
_BELOW = ".*"


def is_tool_name(text: str) -> bool:
    """Return whether `text` is the dotted name of a tool, such as "search.web"."""
    return len(text) <= limits.claim_chars_max and TOOL_NAME_SYNTAX.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Return whether `text` may stand in `allowed_tools` or in a crew's `tools`."""
    return len(text) <= limits.claim_chars_max and is_tool_name(text.removesuffix(_BELOW))


def matches(pattern: str, tool: str) -> bool:
    """Return whether one valid pattern covers one valid tool name."""
    if pattern.endswith(_BELOW):
        return tool.startswith(pattern[:-1])
    return tool == pattern


def reaches(pattern: str, endpoint: str) -> bool:
    """Return whether a valid pattern covers anything that an endpoint of this name may have."""
    if pattern.startswith((endpoint + ".", endpoint + ":")):
        return True
    return pattern.endswith(_BELOW) and endpoint.startswith(pattern[:-1])


def count_covered(patterns: Iterable[str], tools: Sequence[str]) -> int:
    """Return how many of `tools` the patterns cover; `tools` are sorted and distinct.

    A pattern covers neighbors in that order, so it costs two binary searches.
    """
    spans = sorted(_span(pattern, tools) for pattern in patterns)
    count = last = 0
    for first, after in spans:
        count += max(0, after - max(first, last))
        last = max(last, after)
    return count


def within(child: Iterable[str], parent: Iterable[str]) -> bool:
    """Return whether `parent` covers every tool that `child` covers, now and in the future."""
    above = tuple(parent)
    return all(any(_is_below(pattern, other) for other in above) for pattern in child)


def _span(pattern: str, tools: Sequence[str]) -> tuple[int, int]:
    """Return the range that a pattern covers. "/" follows "." in ASCII and is in no name."""
    if pattern.endswith(_BELOW):
        return bisect_left(tools, pattern[:-1]), bisect_left(tools, pattern[:-2] + "/")
    first = bisect_left(tools, pattern)
    return first, first + (first < len(tools) and tools[first] == pattern)


def _is_below(pattern: str, other: str) -> bool:
    # "a.b.*" covers each name that begins with "a.b.": it is within "a.*", but within no exact
    # name.
    if pattern.endswith(_BELOW):
        return other.endswith(_BELOW) and pattern[:-1].startswith(other[:-1])
    return matches(other, pattern)
