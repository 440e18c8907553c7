"""Reads the entries of a list in a result of an MCP server, each with its name or URI.

All functions take a `result` that the native reader has accepted, so no object in it has two
members of one name. An entry stays byte for byte: the schemas of tools can demand headers
(`x-mcp-header`), which a client must see as the server wrote them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from crewgate import limits
from crewgate.core import raw_json
from crewgate.core.json_member_names import folded_words
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.raw_json import UNREADABLE
from crewgate.core.slices import Slices
from crewgate.errors import UnusableResponseError

CONTENTS = "contents"  # the member of the result of `resources/read`

_T = TypeVar("_T")
_string: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)


class ListEntry(NamedTuple):
    """An entry of a list: its name or URI, and its JSON text."""

    name: str
    text: bytes


def list_entries(result: bytes, kind: ListKind) -> Slices[list[ListEntry]]:
    """Return, in slices, the entries of a list that the gateway serves, in the order of the server.

    It leaves out entries that are not objects, have no name, have a name that the gateway does not
    serve, or have the name of an earlier entry.

    Raises:
        UnusableResponseError: The result is not such a list, or exceeds a limit.
    """
    return (yield from served_entries(result_members(result), kind))


def served_entries(members: Mapping[str, bytes], kind: ListKind) -> Slices[list[ListEntry]]:
    """Do what `list_entries` does, for a result that has been read."""
    found: dict[str, ListEntry] = {}
    for entry in (yield from _named(_array(members, kind.member), kind)):
        if kind.is_served(entry.name):
            found.setdefault(entry.name, entry)
    _check_names(found, kind.member)
    return list(found.values())


def contents(members: Mapping[str, bytes]) -> Slices[list[ListEntry]]:
    """Return, in slices, the resources in a result of `resources/read` that have a URI.

    Raises:
        UnusableResponseError: The contents are not an array, or exceed a limit.
    """
    entries = yield from _named(_array(members, CONTENTS), ListKind.RESOURCES)
    _check_names((entry.name for entry in entries), CONTENTS)
    return entries


def result_members(result: bytes) -> dict[str, bytes]:
    """Return the members of a result; UnusableResponseError for no object, or a too large one."""
    if len(result) > limits.mcp_list_bytes_max:
        raise UnusableResponseError(
            f"the result has {len(result)} bytes; {limits.mcp_list_bytes_max} are allowed"
        )
    return object_members(result, "the result")


def object_members(text: bytes, what: str) -> dict[str, bytes]:
    """Return the members of an object; raise UnusableResponseError if `what` is none."""
    try:
        return {name: bytes(value) for name, value in raw_json.members(text).items()}
    except UNREADABLE:
        raise UnusableResponseError(f"{what} is not an object") from None


def decoded(decoder: msgspec.json.Decoder[_T], text: bytes | None) -> _T | None:
    """Return a value of the decoder's type; None for another value."""
    try:
        return None if text is None else decoder.decode(text)
    except UNREADABLE:
        return None


def _named(texts: Sequence[msgspec.Raw], kind: ListKind) -> Slices[list[ListEntry]]:
    """Return the entries that have a name."""
    found = []
    for at, text in enumerate(texts, 1):
        name = _name(bytes(text), kind.key)
        if name is not None:
            found.append(ListEntry(name, bytes(text)))
        if at % limits.mcp_slice_entries == 0:
            yield
    return found


def _name(entry: bytes, key: str) -> str | None:
    """Return what names an entry; None if some client could find another name in it.

    Some clients ignore how the names of members are spelled (`json_member_names`).
    """
    try:
        members = raw_json.members(entry)
    except UNREADABLE:
        return None
    if [name for name in members if folded_words(name) == folded_words(key)] != [key]:
        return None
    return decoded(_string, bytes(members[key]))


def _array(members: Mapping[str, bytes], name: str) -> list[msgspec.Raw]:
    try:
        texts = raw_json.items(members.get(name, b"null"))
    except UNREADABLE:
        raise UnusableResponseError(f"result.{name} is not an array") from None
    if len(texts) > limits.mcp_list_entries_max:
        raise UnusableResponseError(
            f"result.{name} has {len(texts)} entries; {limits.mcp_list_entries_max} are allowed"
        )
    return texts


def _check_names(names: Iterable[str], member: str) -> None:
    if sum(map(len, names)) > limits.mcp_list_names_chars_max:
        raise UnusableResponseError(
            f"result.{member} has names of more than {limits.mcp_list_names_chars_max} "
            "characters in all"
        )
