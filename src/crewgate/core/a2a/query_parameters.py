"""Reads and rewrites the query of a request of the HTTP+JSON binding (A2A 1.0, section 11.5).

The query holds the members of a request that has no body. Its parameters are decoded once and
written again, so that the agent reads them as the gateway did.
"""

import re
from collections.abc import Collection, Sequence
from urllib.parse import quote, unquote_to_bytes

from crewgate import limits
from crewgate.core.a2a.errors import INVALID_PARAMS, A2AError
from crewgate.core.a2a.message_fields import Fields, TextKind
from crewgate.core.a2a.text_rewriting import TextRewriter
from crewgate.core.json_member_names import folded_words

_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")

Parameters = Sequence[tuple[str, str]]


def parse(query: str) -> Parameters:
    """Return the parameters of a query, in its order.

    Raises:
        A2AError: The query is too long, or readers could read it in two ways.
    """
    if len(query) > limits.a2a_query_chars_max or _BAD_ESCAPE.search(query) or ";" in query:
        raise A2AError(INVALID_PARAMS, "the query is too long or malformed")
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def rewrite(
    parameters: Parameters, fields: Fields, rewriter: TextRewriter, in_path: Collection[str] = ()
) -> str:
    """Return the query with other texts; `in_path` are the members that the path names already.

    Raises:
        A2AError: The query names one of these members, or names a member twice.
    """
    seen = {folded_words(name) for name in in_path}
    parts = []
    for name, value in parameters:
        field = fields.by_name.get(name)
        if folded_words(name) in fields.folded:
            if (
                field is None
                or folded_words(name) in seen
                or not isinstance(field.content, TextKind)
            ):
                raise A2AError(INVALID_PARAMS, "the query names a member twice, or misspells it")
            seen.add(folded_words(name))
            parts.append(_pair(name, rewriter.text(field.content, value) if value else ""))
        else:
            parts.append(_pair(name, value))
    return "&".join(parts)


def _pair(name: str, value: str) -> str:
    return f"{quote(name, safe='')}={quote(value, safe='')}"


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise A2AError(INVALID_PARAMS, "the query is not UTF-8") from None
