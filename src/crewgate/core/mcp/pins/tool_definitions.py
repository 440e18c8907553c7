"""Reads the definition of a tool as an MCP server lists it, and computes its digest.

The digest is the SHA-256 of a canonical text. That text is a JSON object in UTF-8 with the members
that are pinned, without white space, and with the members of all objects in the order of their
names. Strings have the shortest escapes. Integers are in decimal. Other numbers keep their digits,
so 1.0 and 1 differ. The text is not that of RFC 8785 (JCS), which rounds numbers: two numbers that
some clients read as different would have one digest.

Clients in Go read a member `Description` as `description`. So the text also has members whose names
differ from those in their case only.

The caller has read the list with a reader that refuses members that occur twice.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core import raw_json
from crewgate.core.mcp import tool_ids
from crewgate.core.raw_json import UNREADABLE

# The name under which the `instructions` of a server are pinned. No tool has an empty name.
INSTRUCTIONS: Final = ""
# The members that are pinned, in lower case.
_TOOL = frozenset({"name", "title", "description", "inputschema", "outputschema", "annotations"})
_INSTRUCTIONS = frozenset({"instructions"})

_value: msgspec.json.Decoder[object] = msgspec.json.Decoder(float_hook=Decimal)
_text: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_encode_in_order = msgspec.json.Encoder().encode


class SeenDefinition(msgspec.Struct, frozen=True, gc=False):
    """The definition of one tool as its server lists it, or the `instructions` of the server.

    Attributes:
        name: The name of the tool; `INSTRUCTIONS` for the instructions.
        digest: 64 hexadecimal digits; empty if a whole list of the server lacks the tool.
        text: The canonical text; empty if it is longer than `limits.mcp_definition_bytes_max`.
    """

    name: Annotated[str, Meta(max_length=limits.mcp_pin_name_chars_max)]
    digest: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
    text: Annotated[bytes, Meta(max_length=limits.mcp_definition_bytes_max)] = b""


def read_tool(definition: bytes) -> SeenDefinition | None:
    """Return what the JSON text of a tool says; None if it is no object with a valid `name`."""
    try:
        members = raw_json.members(definition)
        name = _text.decode(members["name"])
    except (KeyError, *UNREADABLE):
        return None
    return _seen(name, _pinned(members, _TOOL)) if tool_ids.is_tool(name) else None


def read_instructions(result: bytes) -> SeenDefinition | None:
    """Return what a server says about itself in a result of `server/discover` or `initialize`.

    A server without instructions says so too. Return None if the result is no object.
    """
    try:
        members = raw_json.members(result)
    except UNREADABLE:
        return None
    return _seen(INSTRUCTIONS, _pinned(members, _INSTRUCTIONS))


def without_instructions(result: bytes) -> bytes:
    """Return the result of `server/discover` or `initialize` without the instructions.

    `result` is an object.
    """
    members = raw_json.members(result)
    return _encode_in_order(
        {name: value for name, value in members.items() if name.casefold() not in _INSTRUCTIONS}
    )


def lacking(name: str) -> SeenDefinition:
    """Return that a whole list of the server lacks a tool."""
    return SeenDefinition(name, "")


def _seen(name: str, text: bytes) -> SeenDefinition:
    kept = text if len(text) <= limits.mcp_definition_bytes_max else b""
    return SeenDefinition(name, sha256(text).hexdigest(), kept)


def _pinned(members: Mapping[str, msgspec.Raw], names: Collection[str]) -> bytes:
    """Return the canonical text of the members with these names, which are in lower case."""
    return _encode(
        {
            name: msgspec.Raw(_canonical(bytes(value)))
            for name, value in members.items()
            if name.casefold() in names
        }
    )


def _canonical(value: bytes) -> bytes:
    try:
        return _encode(_value.decode(value))
    except (ArithmeticError, RecursionError, UnicodeError, msgspec.DecodeError):
        # A number too large for Python, for example. The server's own spelling takes part in the
        # digest, so that no server escapes the comparison by such a value.
        return _encode(value.decode(errors="backslashreplace"))
