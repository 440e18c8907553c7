"""Takes out of a result of an MCP server what a caller may not use: lists, discovery, contents.

All functions take a `result` that the native reader has accepted. They leave each entry that stays
byte for byte (`list_entries`).

Of the other members of a result, only those stay that MCP defines. Any other member could repeat
what the list must not show.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from crewgate import limits
from crewgate.core.mcp.list_entries import (
    CONTENTS,
    ListEntry,
    contents,
    decoded,
    object_members,
    result_members,
    served_entries,
)
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.slices import Slices
from crewgate.errors import UnusableResponseError

# Returns whether a caller may use the tool, prompt or resource of this name or URI.
Allows = Callable[[str], bool]
# A path of members below `capabilities`.
CapabilityPath = tuple[str, ...]

_RESERVED_META = "io.modelcontextprotocol/"  # the prefix of the keys that MCP defines
_PRIVATE, _COMPLETE = b'"private"', b'"complete"'

_strings: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])
_string: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_integer: msgspec.json.Decoder[int] = msgspec.json.Decoder(int)
_encode = msgspec.json.Encoder().encode


def filter_list(
    result: bytes,
    kind: ListKind,
    allows: Allows,
    ttl_ms_max: int | None,
    seal_cursor: Callable[[str], str] | None = None,
) -> Slices[bytes]:
    """Return, in slices, a list without the entries that the caller may not use.

    `ttl_ms_max` is how long the client may keep it; None for a legacy client, whose lists have no
    such member. `seal_cursor` hides a cursor, which can contain the name of an entry.

    Raises:
        UnusableResponseError: The result is not such a list, or exceeds a limit.
    """
    members = result_members(result)
    kept = yield from _kept((yield from served_entries(members, kind)), allows)
    filtered = {kind.member: b"[%b]" % b",".join(kept)}
    cursor = decoded(_string, members.get("nextCursor"))
    if cursor is not None:
        filtered["nextCursor"] = _encode(cursor if seal_cursor is None else seal_cursor(cursor))
    if "_meta" in members:
        filtered["_meta"] = _reserved_meta(members["_meta"])
    if ttl_ms_max is not None:
        filtered |= _caching(members, ttl_ms_max)
        if "resultType" in members:
            filtered["resultType"] = _COMPLETE
    return _written((name, filtered[name]) for name in _in_order(members, filtered))


def filter_discovery(
    result: bytes,
    withheld: Collection[CapabilityPath],
    versions: Collection[str],
    ttl_ms_max: int | None,
    *,
    shows_instructions: bool = True,
) -> bytes:
    """Return the result of `server/discover` or `initialize` as the endpoint serves it.

    It loses the capabilities at the paths `withheld`, the versions that are not in `versions` and,
    unless `shows_instructions`, the instructions: their text can describe any tool.

    Raises:
        UnusableResponseError: The result or its capabilities are not objects, it exceeds a limit,
            or the server has no version that the endpoint serves.
    """
    members = result_members(result)
    if "capabilities" in members:
        members["capabilities"] = _without(members["capabilities"], withheld)
    if "supportedVersions" in members:
        offered = decoded(_strings, members["supportedVersions"]) or []
        served = [version for version in offered if version in versions]
        if not served:
            raise UnusableResponseError("its server has no version of MCP that the endpoint has")
        members["supportedVersions"] = _encode(served)
    if not shows_instructions:
        members.pop("instructions", None)
    return _written(_cached(members, ttl_ms_max).items())


def filter_contents(result: bytes, allows: Allows, ttl_ms_max: int | None) -> Slices[bytes]:
    """Return, in slices, the result of `resources/read` without what the caller may not read.

    A server may return several resources, such as those of a folder. `ttl_ms_max` as in
    `filter_list`. A result without contents, such as a question to the client, stays as it is.

    Raises:
        UnusableResponseError: The contents are not an array, or exceed a limit.
    """
    members = object_members(result, "the result")
    if CONTENTS not in members:
        return result
    kept = yield from _kept((yield from contents(members)), allows)
    members[CONTENTS] = b"[%b]" % b",".join(kept)
    return _written(_cached(members, ttl_ms_max).items())


def member_names(result: bytes) -> Collection[str]:
    """Return the names of the members of a result; UnusableResponseError for no object."""
    return object_members(result, "the result").keys()


def _kept(entries: Sequence[ListEntry], allows: Allows) -> Slices[list[bytes]]:
    """Return the texts of the entries that are allowed."""
    kept: list[bytes] = []
    for at, entry in enumerate(entries, 1):
        if allows(entry.name):
            kept.append(entry.text)
        if at % limits.mcp_slice_entries == 0:
            yield
    return kept


def _reserved_meta(text: bytes) -> bytes:
    members = object_members(text, "result._meta")
    return _written(item for item in members.items() if item[0].startswith(_RESERVED_META))


def _cached(members: Mapping[str, bytes], ttl_ms_max: int | None) -> dict[str, bytes]:
    changed = dict(members)
    if ttl_ms_max is not None:
        return changed | _caching(members, ttl_ms_max)
    changed.pop("ttlMs", None)
    changed.pop("cacheScope", None)
    return changed


def _caching(members: Mapping[str, bytes], ttl_ms_max: int) -> dict[str, bytes]:
    """Return the members for caches; a client keeps a result no longer than its server allows."""
    ttl_ms = decoded(_integer, members.get("ttlMs")) or 0
    return {"ttlMs": b"%d" % max(0, min(ttl_ms, ttl_ms_max)), "cacheScope": _PRIVATE}


def _without(
    text: bytes, withheld: Collection[CapabilityPath], where: str = "capabilities"
) -> bytes:
    members = object_members(text, f"result.{where}")
    for name in {path[0] for path in withheld} & members.keys():
        below = [path[1:] for path in withheld if path[0] == name]
        if () in below:
            del members[name]
        else:
            members[name] = _without(members[name], below, f"{where}.{name}")
    return _written(members.items())


def _in_order(members: Mapping[str, bytes], filtered: Mapping[str, bytes]) -> list[str]:
    """Return the names of `filtered`, first those of the server in the server's order."""
    return [name for name in members if name in filtered] + [
        name for name in filtered if name not in members
    ]


def _written(members: Iterable[tuple[str, bytes]]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (_encode(name), text) for name, text in members)
