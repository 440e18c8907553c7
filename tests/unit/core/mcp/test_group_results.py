"""The answers of several servers are merged into one."""

import json
from typing import Any

import pytest
from whole_slices import whole

from crewgate.core.mcp import group_results
from crewgate.core.mcp.group_results import GroupInfo, ListPage
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.methods import Revision
from crewgate.errors import UnusableResponseError

TEAM = GroupInfo("team", ("files", "search"), "1.0")
SCHEMA = b'{"name":"read", "inputSchema":{"x-mcp-header" : "A","n":1.50}}'


def page(kind: ListKind, *entries: bytes, **more: Any) -> ListPage:
    """A page of a list with these entries."""
    rest = json.dumps(more)[1:-1]
    text = b'{"%b":[%b]%b}' % (
        kind.member.encode(),
        b",".join(entries),
        (", " + rest if rest else "").encode(),
    )
    return whole(group_results.read_page(text, kind))


def test_entries_stay_as_their_server_wrote_them() -> None:
    """Only a name that gets a prefix is written anew."""
    pages = {"files": [page(ListKind.TOOLS, SCHEMA, ttlMs=9)]}
    alone = group_results.merge_lists(ListKind.TOOLS, pages, TEAM, {}, Revision.MODERN)
    assert SCHEMA in alone.result
    assert json.loads(alone.result)["ttlMs"] == 9
    pages["search"] = [page(ListKind.TOOLS, b'{"name":"read"}', ttlMs=7)]
    both = group_results.merge_lists(ListKind.TOOLS, pages, TEAM, {}, Revision.MODERN)
    assert SCHEMA.replace(b'"name":"read", ', b'"name":"files__read",') in both.result
    assert b'{"name":"search__read"}' in both.result
    assert json.loads(both.result)["ttlMs"] == 7
    assert both.names == {"files": ("read",), "search": ("read",)}


def test_a_resource_of_two_servers_is_there_once() -> None:
    """It is the first one's, which also reads it."""
    pages = {
        server: [page(ListKind.RESOURCES, b'{"uri":"a:b","name":"%b"}' % server.encode())]
        for server in TEAM.servers
    }
    merged = group_results.merge_lists(ListKind.RESOURCES, pages, TEAM, {}, Revision.LEGACY)
    assert json.loads(merged.result) == {"resources": [{"uri": "a:b", "name": "files"}]}


def test_a_list_that_lacks_a_server_is_not_kept() -> None:
    """It names the server, so that a person can find out."""
    pages = {"files": [page(ListKind.TOOLS, SCHEMA, ttlMs=9)]}
    found = group_results.merge_lists(ListKind.TOOLS, pages, TEAM, {"search": []}, Revision.MODERN)
    result = json.loads(found.result)
    assert (result["ttlMs"], result["cacheScope"]) == (0, "private")
    assert result["_meta"] == {"dev.crewgate/unavailable_servers": ["search"]}
    known = group_results.merge_lists(
        ListKind.TOOLS, pages, TEAM, {"search": ["read", "find"]}, Revision.MODERN
    )
    assert [tool["name"] for tool in json.loads(known.result)["tools"]] == ["files__read"]
    assert known.names == {"files": ("read",), "search": ("read", "find")}


@pytest.mark.parametrize("text", [b"[]", b'{"tools":{}}', b'{"tools":[],"nextCursor":1}', b""])
def test_a_page_that_is_none_is_an_error(text: bytes) -> None:
    """The server is then left out."""
    with pytest.raises(UnusableResponseError):
        whole(group_results.read_page(text, ListKind.TOOLS))


def discovery(**members: Any) -> bytes:
    return json.dumps(members).encode()


def test_a_group_can_do_what_any_of_its_servers_can() -> None:
    """But it has only the versions that all have, and tells of no changes of lists."""
    results = {
        "files": discovery(
            supportedVersions=["2026-07-28", "2025-11-25"],
            capabilities={"tools": {"listChanged": True}, "extensions": {"a": {}}},
            ttlMs=5,
        ),
        "search": discovery(
            supportedVersions=["2026-07-28"],
            capabilities={"resources": {"subscribe": True}, "extensions": {"b": {}}},
            instructions="Ask.",
        ),
    }
    merged = json.loads(group_results.merge_discoveries(results, TEAM, {}, Revision.MODERN))
    assert merged["supportedVersions"] == ["2026-07-28"]
    assert merged["capabilities"] == {
        "tools": {},
        "resources": {"subscribe": True},
        "extensions": {"a": {}, "b": {}},
    }
    assert merged["instructions"] == "search:\nAsk."
    assert merged["ttlMs"] == 0


def test_a_legacy_group_has_the_oldest_version_of_its_servers() -> None:
    """Each server gets its own, because the session has it."""
    results = {
        "files": discovery(protocolVersion="2025-11-25", capabilities={}),
        "search": discovery(
            protocolVersion="2025-06-18", capabilities={"resources": {"subscribe": True}}
        ),
    }
    merged = json.loads(group_results.merge_discoveries(results, TEAM, {}, Revision.LEGACY))
    assert merged["protocolVersion"] == "2025-06-18"
    assert merged["capabilities"] == {"resources": {}}
    assert merged["serverInfo"] == {"name": "team", "version": "1.0"}


@pytest.mark.parametrize(
    ("result", "revision"),
    [
        (discovery(supportedVersions=["2025-11-25"]), Revision.MODERN),
        (discovery(protocolVersion="1999-01-01"), Revision.LEGACY),
        (discovery(protocolVersion=1), Revision.LEGACY),
        (b"[]", Revision.MODERN),
    ],
)
def test_a_server_of_another_revision_is_not_used(result: bytes, revision: Revision) -> None:
    """Nor one that does not say what it is."""
    assert not group_results.is_usable(result, revision)
