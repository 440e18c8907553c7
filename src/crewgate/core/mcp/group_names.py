"""The names of tools and prompts where several MCP servers share one path.

A caller sees a name as it is, unless two servers that it may use have that name. Then it sees both
with the name of their server before them: `files__read` and `search__read`. Only what the caller
may use decides that, so no name shows what another server has for others.

A name that begins like one with a prefix always gets a prefix, and so none has two meanings.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

from crewgate import limits

_SEPARATOR = "__"
_FITTING = re.compile(r"[A-Za-z0-9_-]+")
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_SHORTENED = re.compile(rf".*_[0-9a-f]{{{limits.mcp_group_digest_chars}}}")

# By server, in the order of the group: the names that a caller may use there.
VisibleNames = Mapping[str, Collection[str]]


class ServerName(NamedTuple):
    """A tool or a prompt: its server in the group, and its name there."""

    server: str
    name: str


def is_server_name(text: str) -> bool:
    """Return whether a group may have a server of this name: no other text is its prefix."""
    is_short = len(text) <= limits.mcp_group_server_chars_max
    return is_short and _SEPARATOR not in text and not text.endswith("_")


def with_prefix(server: str, name: str) -> str:
    """Return a name with its server before it.

    A name that is too long, or has other characters than APIs of language models take, is
    shortened. A digest then tells it from others.
    """
    whole = f"{server}{_SEPARATOR}{name}"
    if len(whole) <= limits.mcp_group_name_chars_max and _FITTING.fullmatch(whole):
        return whole
    end = "_" + sha256(name.encode()).hexdigest()[: limits.mcp_group_digest_chars]
    room = limits.mcp_group_name_chars_max - len(server) - len(_SEPARATOR) - len(end)
    return f"{server}{_SEPARATOR}{_OTHER.sub('_', name)[:room]}{end}"


def shown_names(visible: VisibleNames, servers: Collection[str]) -> dict[ServerName, str]:
    """Return under which name a caller sees each of the names that it may use.

    `servers` are all servers of the group. If a server has two names that are shortened to one, or
    one that equals the short form of another, the caller sees the first or the equal one only.
    """
    owners: dict[str, int] = {}
    for names in visible.values():
        for name in names:
            owners[name] = owners.get(name, 0) + 1
    shown: dict[str, ServerName] = {}
    shortened: dict[str, ServerName] = {}
    for each in _every(visible):
        if owners[each.name] == 1 and _prefix(each.name, servers) is None:
            shown[each.name] = each
        elif _is_whole(each):
            shown[with_prefix(*each)] = each
        else:
            shortened.setdefault(with_prefix(*each), each)
    # If a server has a whole name and a shortened one with this prefix, it means the whole name.
    whole = {with_prefix(*each) for each in _every(visible) if _is_whole(each)}
    shown |= {text: each for text, each in shortened.items() if text not in whole}
    return {each: text for text, each in shown.items()}


def prefixed(text: str, visible: VisibleNames) -> ServerName | None:
    """Return what a name with the prefix of a server stands for; None for a name without one."""
    server = _prefix(text, visible)
    if server is None:
        return None
    rest = text.removeprefix(server + _SEPARATOR)
    names = visible[server]
    if rest not in names and is_shortened(rest):
        for name in names:
            if with_prefix(server, name) == text:
                return ServerName(server, name)
    return ServerName(server, rest)


def is_shortened(name: str) -> bool:
    """Return whether a name without its prefix can be a shortened one."""
    return _SHORTENED.fullmatch(name) is not None


def _prefix(text: str, servers: Collection[str]) -> str | None:
    server, separator, rest = text.partition(_SEPARATOR)
    return server if separator and rest and server in servers else None


def _is_whole(each: ServerName) -> bool:
    return with_prefix(*each) == f"{each.server}{_SEPARATOR}{each.name}"


def _every(visible: VisibleNames) -> Iterator[ServerName]:
    for server, names in visible.items():
        for name in names:
            yield ServerName(server, name)
