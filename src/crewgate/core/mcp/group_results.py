"""Merges the answers of the servers of a group: their lists, and their descriptions of themselves.

All results have been filtered for the caller, each by the rules of its own endpoint.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from crewgate import limits
from crewgate.core import raw_json
from crewgate.core.mcp import group_names
from crewgate.core.mcp.group_names import ServerName
from crewgate.core.mcp.list_entries import ListEntry, list_entries
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.methods import LEGACY_VERSIONS, MODERN_VERSION, Revision
from crewgate.core.slices import Slices
from crewgate.errors import UnusableResponseError

_LEFT_OUT = "dev.crewgate/unavailable_servers"  # the key in `_meta` of a result
_SERVER_INFO = "io.modelcontextprotocol/serverInfo"
_NAMED = frozenset({ListKind.TOOLS, ListKind.PROMPTS})
_encode = msgspec.json.Encoder().encode

_Value = dict[str, object]


class GroupInfo(NamedTuple):
    """The group as its clients see it: its name, its servers in order, and our own version."""

    name: str
    servers: Collection[str]
    version: str


class MergedList(NamedTuple):
    """A list of all servers, and the names or URIs that the caller may use of each."""

    result: bytes
    names: dict[str, tuple[str, ...]]


class _Discovery(msgspec.Struct, rename="camel"):
    capabilities: _Value = {}
    supported_versions: tuple[str, ...] = ()
    protocol_version: str = ""
    instructions: str | None = None
    ttl_ms: int = 0


class _Page(msgspec.Struct, rename="camel"):
    next_cursor: str | None = None
    ttl_ms: int = 0


_pages = msgspec.json.Decoder(_Page)
_discoveries = msgspec.json.Decoder(_Discovery)


class ListPage(NamedTuple):
    """A page: its entries, where the list goes on (None: nowhere), and how long to keep it."""

    entries: Sequence[ListEntry]
    next_cursor: str | None
    ttl_ms: int


def read_page(page: bytes, kind: ListKind) -> Slices[ListPage]:
    """Read, in slices, the result of a list.

    Raises:
        UnusableResponseError: It is not such a list, or exceeds a limit.
    """
    entries = yield from list_entries(page, kind)
    try:
        found = _pages.decode(page)
    except msgspec.MsgspecError as error:
        raise UnusableResponseError(f"the page of the list is not one: {error}") from None
    return ListPage(entries, found.next_cursor, found.ttl_ms)


def merge_lists(
    kind: ListKind,
    pages: Mapping[str, Sequence[ListPage]],
    group: GroupInfo,
    left_out: Mapping[str, Sequence[str]],
    revision: Revision,
) -> MergedList:
    """Merge lists of one kind; `pages` has all pages of each server.

    `left_out` are the servers without a list, which the result names, each with the names that it
    is known to have. They count, so that no other server gets the calls that are meant for it.
    """
    entries = {
        server: [entry for page in found for entry in page.entries]
        for server, found in pages.items()
    }
    names = {
        server: tuple(dict.fromkeys(entry.name for entry in found))
        for server, found in entries.items()
    }
    names |= {server: tuple(known) for server, known in left_out.items() if known}
    texts = _shown(entries, names, group) if kind in _NAMED else _first_of_each(entries)
    kept = texts[: limits.mcp_group_entries_max]
    result: dict[str, object] = {kind.member: [msgspec.Raw(text) for text in kept]}
    if revision is Revision.MODERN:
        ttl_ms = min((page.ttl_ms for found in pages.values() for page in found), default=0)
        result |= {"resultType": "complete", "ttlMs": 0 if left_out else ttl_ms}
        result["cacheScope"] = "private"
    if left_out:
        result["_meta"] = {_LEFT_OUT: list(left_out)}
    return MergedList(_encode(result), names)


def _shown(
    entries: Mapping[str, Sequence[ListEntry]],
    names: Mapping[str, Sequence[str]],
    group: GroupInfo,
) -> list[bytes]:
    shown = group_names.shown_names(names, group.servers)
    texts = []
    for server, found in entries.items():
        for entry in found:
            name = shown.pop(ServerName(server, entry.name), None)
            if name is not None:
                texts.append(entry.text if name == entry.name else _renamed(entry.text, name))
    return texts


def _renamed(entry: bytes, name: str) -> bytes:
    members = raw_json.members(entry)
    members["name"] = msgspec.Raw(_encode(name))
    return _encode(members)


def _first_of_each(entries: Mapping[str, Iterable[ListEntry]]) -> list[bytes]:
    """Return the entry of each URI that its first server has: that server also reads it."""
    first: dict[str, bytes] = {}
    for found in entries.values():
        for entry in found:
            first.setdefault(entry.name, entry.text)
    return list(first.values())


def is_usable(result: bytes, revision: Revision) -> bool:
    """Return whether a server describes itself, and has a version of this revision."""
    try:
        found = _discoveries.decode(result)
    except msgspec.MsgspecError:
        return False
    if revision is Revision.MODERN:
        return MODERN_VERSION in found.supported_versions
    return found.protocol_version in LEGACY_VERSIONS


def protocol_version(result: bytes) -> str:
    """Return the version that the result of `initialize` names."""
    return _discoveries.decode(result).protocol_version


def merge_discoveries(
    results: Mapping[str, bytes], group: GroupInfo, left_out: Sequence[str], revision: Revision
) -> bytes:
    """Merge the results of `server/discover` or `initialize` of at least one server.

    The versions are those that all servers have, and the capabilities those that any has. A group
    has no stream of its own, so no server can tell its clients there that a list has changed.
    """
    found = {server: _discoveries.decode(result) for server, result in results.items()}
    capabilities: _Value = {}
    for each in found.values():
        _unite(capabilities, each.capabilities)
    for name in ("tools", "prompts", "resources"):
        offered = capabilities.get(name)
        if isinstance(offered, dict):
            offered.pop("listChanged", None)
            if revision is Revision.LEGACY:
                offered.pop("subscribe", None)
    texts = [f"{name}:\n{each.instructions}" for name, each in found.items() if each.instructions]
    merged: _Value = {"capabilities": capabilities}
    if texts:
        merged["instructions"] = "\n\n".join(texts)
    meta: _Value = {_LEFT_OUT: list(left_out)} if left_out else {}
    info = {"name": group.name, "version": group.version}
    if revision is Revision.MODERN:
        every = list(found.values())
        common = [
            version
            for version in every[0].supported_versions
            if all(version in each.supported_versions for each in every)
        ]
        ttl_ms = 0 if left_out else min(each.ttl_ms for each in every)
        merged |= {"supportedVersions": common, "resultType": "complete"}
        merged |= {"ttlMs": ttl_ms, "cacheScope": "private"}
        meta[_SERVER_INFO] = info
    else:
        oldest = min(each.protocol_version for each in found.values())
        merged |= {"protocolVersion": oldest, "serverInfo": info}
    if meta:
        merged["_meta"] = meta
    return _encode(merged)


def _unite(into: _Value, more: Mapping[str, object]) -> None:
    for name, value in more.items():
        known = into.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            _unite(known, value)
        elif not known:
            into[name] = value
