"""Lists lack what a caller may not use; the other entries stay as the server wrote them."""

import json
from contextlib import suppress

import pytest
from whole_slices import whole

from crewgate import limits
from crewgate.core.mcp.list_entries import list_entries
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.result_filter import (
    filter_contents,
    filter_discovery,
    filter_list,
)
from crewgate.errors import UnusableResponseError

READ = b'{ "name" : "read" ,"inputSchema":{"x-mcp-header":"Region", "a":1.0} }'
DELETE = b'{"name":"delete","description":"removes files"}'


def allows_read(name: str) -> bool:
    return name == "read"


def test_a_list_loses_what_the_caller_may_not_use() -> None:
    """A modern list becomes private and short-lived, and keeps its page's cursor."""
    page = (
        b'{"resultType":"complete", "tools" : [ %b, %b ] , "nextCursor":"n\\u0031", '
        b'"cacheScope":"public","ttlMs":9999999}' % (READ, DELETE)
    )
    assert whole(filter_list(page, ListKind.TOOLS, allows_read, 60_000)) == (
        b'{"resultType":"complete","tools":[%b],"nextCursor":"n1","cacheScope":"private",'
        b'"ttlMs":60000}' % READ
    )


def test_a_legacy_list_has_no_members_for_caches() -> None:
    page = b'{"tools":[%b,%b],"ttlMs":5,"cacheScope":"public","resultType":"complete"}'
    found = whole(filter_list(page % (DELETE, READ), ListKind.TOOLS, allows_read, None))
    assert found == b'{"tools":[%b]}' % READ


def test_a_page_may_become_empty() -> None:
    """Its cursor stays, because the next page may have something for the caller."""
    page = b'{"tools":[%b],"nextCursor":"2"}' % DELETE
    assert (
        whole(filter_list(page, ListKind.TOOLS, allows_read, None))
        == b'{"tools":[],"nextCursor":"2"}'
    )


def test_a_cursor_can_be_sealed() -> None:
    """It can contain the name of the last tool of the page."""
    page = b'{"tools":[%b],"nextCursor":"delete"}' % DELETE
    found = whole(
        filter_list(page, ListKind.TOOLS, allows_read, None, lambda text: f"x{len(text)}")
    )
    assert found == b'{"tools":[],"nextCursor":"x6"}'


def test_other_members_of_a_list_are_left_out() -> None:
    """They could name the tools; MCP's own keys in `_meta` stay."""
    page = (
        b'{"tools":[],"allTools":["delete"],"nextCursor":5,"_meta":{"delete":1,'
        b'"io.modelcontextprotocol/serverInfo":{"name": "s"}}}'
    )
    assert whole(filter_list(page, ListKind.TOOLS, allows_read, None)) == (
        b'{"tools":[],"_meta":{"io.modelcontextprotocol/serverInfo":{"name": "s"}}}'
    )


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [(b"5", 5), (b"0", 0), (b"-1", 0), (b"1.5", 0), (b'"9"', 0), (b"1e99", 0), (b"null", 0),
     (b"9" * 400, 60_000), (b"9" * 5000, 0), (b"70000", 60_000)],
)  # fmt: skip
def test_a_list_is_kept_for_as_long_as_the_server_allows_and_no_longer(
    ttl: bytes, expected: int
) -> None:
    found = whole(
        filter_list(b'{"tools":[],"ttlMs":%b}' % ttl, ListKind.TOOLS, allows_read, 60_000)
    )
    assert json.loads(found) == {"tools": [], "ttlMs": expected, "cacheScope": "private"}
    assert (
        json.loads(whole(filter_list(b'{"tools":[]}', ListKind.TOOLS, allows_read, 9)))["ttlMs"]
        == 0
    )


@pytest.mark.parametrize(
    "entry",
    [
        b"5", b"null", b'"read"', b"[]", b"{}", b'{"name":5}', b'{"name":null}', b'{"name":""}',
        b'{"name":"a b"}', b'{"name":"a/b"}', b'{"name":"\\u00e9"}',
        b'{"name":"%b"}' % (b"a" * 129),
        b'{"name":"read","description":"the second"}', b'{"Name":"read"}',
        b'{"name":"write","NAME":"read"}', b'{"na\\u006de":"write","\\u004eame":"x"}',
    ],
)  # fmt: skip
def test_entries_without_one_good_name_are_left_out(entry: bytes) -> None:
    """Clients differ in how they read them. Of two with one name, the first stays."""
    page = b'{"tools":[%b,%b,%b]}' % (READ, entry, DELETE)
    assert [each.text for each in whole(list_entries(page, ListKind.TOOLS))] == [READ, DELETE]
    assert whole(filter_list(page, ListKind.TOOLS, lambda _: True, None)) == (
        b'{"tools":[%b,%b]}' % (READ, DELETE)
    )


@pytest.mark.parametrize(
    ("kind", "page", "names"),
    [
        (ListKind.PROMPTS, b'{"prompts":[{"name":"a b"},{"name":"c\\n"}]}', ["a b"]),
        (ListKind.RESOURCES, b'{"resources":[{"uri":"x:1","name":"n"},{"name":"x"}]}', ["x:1"]),
        (ListKind.TEMPLATES, b'{"resourceTemplates":[{"uriTemplate":"x:{a}"}]}', ["x:{a}"]),
    ],
)
def test_each_kind_of_list_has_its_own_names(kind: ListKind, page: bytes, names: list[str]) -> None:
    """Prompts by their names, resources by their URIs, templates by their templates."""
    assert [entry.name for entry in whole(list_entries(page, kind))] == names
    asked: list[str] = []
    whole(filter_list(page, kind, lambda name: asked.append(name) is None, None))
    assert asked == names


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (b"[]", "the result is not an object"),
        (b"{}", "result.tools is not an array"),
        (b'{"tools":{}}', "result.tools is not an array"),
        (b'{"tools":null}', "result.tools is not an array"),
        (b'{"tools":[],"_meta":[]}', "result._meta is not an object"),
        (b'{"tools":[}', "the result is not an object"),
        (b'{"tools":[\xff]}', "the result is not an object"),
    ],
)
def test_a_list_that_cannot_be_read_shows_nothing(page: bytes, why: str) -> None:
    with pytest.raises(UnusableResponseError, match=why):
        whole(filter_list(page, ListKind.TOOLS, lambda _: True, 1))


def test_an_entry_that_is_nested_too_deep_is_not_shown() -> None:
    """Whether it can be read at all depends on the interpreter."""
    page = b'{"tools":' + b"[" * 5000 + b"]" * 5000 + b"}"
    with suppress(UnusableResponseError):
        assert whole(filter_list(page, ListKind.TOOLS, lambda _: True, None)) == b'{"tools":[]}'


def test_the_size_of_a_list_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "mcp_list_entries_max", 2)
    with pytest.raises(UnusableResponseError, match="3 entries; 2 are allowed"):
        whole(filter_list(b'{"tools":[1,2,3]}', ListKind.TOOLS, allows_read, 1))
    monkeypatch.setattr(limits, "mcp_list_names_chars_max", 9)
    with pytest.raises(UnusableResponseError, match="names of more than 9 characters in all"):
        whole(filter_list(b'{"tools":[%b,%b]}' % (READ, DELETE), ListKind.TOOLS, allows_read, 1))
    monkeypatch.setattr(limits, "mcp_list_bytes_max", 10)
    with pytest.raises(UnusableResponseError, match="12 bytes; 10 are allowed"):
        whole(filter_list(b'{"tools":[]}', ListKind.TOOLS, allows_read, 1))


DISCOVERY = (
    b'{"supportedVersions":["2030-01-01", "2026-07-28"],"capabilities":{"tools":{ },"tasks":{"list"'
    b':{}},"extensions":{"io.modelcontextprotocol/tasks":{},"x/y":{ "a":1}}},"instructions":"Use '
    b'delete.","ttlMs":100000,"cacheScope":"public","_meta":{"a":1}}'
)
WITHHELD = (("tasks",), ("extensions", "io.modelcontextprotocol/tasks"), ("sampling", "x"))


def test_discovery_names_what_the_endpoint_serves() -> None:
    """Not the server's other capabilities and versions; the instructions can be hidden."""
    shown = filter_discovery(DISCOVERY, WITHHELD, ["2026-07-28", "2025-11-25"], 50)
    assert shown == (
        b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{ },"extensions":{"x/y":'
        b'{ "a":1}}},"instructions":"Use delete.","ttlMs":50,"cacheScope":"private",'
        b'"_meta":{"a":1}}'
    )
    hidden = filter_discovery(DISCOVERY, (), ["2026-07-28"], None, shows_instructions=False)
    assert json.loads(hidden).keys() == {"supportedVersions", "capabilities", "_meta"}


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (b'{"capabilities":[]}', "result.capabilities is not an object"),
        (b'{"capabilities":{"extensions":5}}', "result.capabilities.extensions is not an object"),
        (b'{"supportedVersions":["2030-01-01"]}', "no version of MCP that the endpoint has"),
        (b'{"supportedVersions":"2026-07-28"}', "no version of MCP that the endpoint has"),
        (b"5", "the result is not an object"),
    ],
)
def test_discovery_that_cannot_be_read_is_an_error(result: bytes, why: str) -> None:
    with pytest.raises(UnusableResponseError, match=why):
        filter_discovery(result, WITHHELD, ["2026-07-28"], 50)


def test_a_read_shows_the_resources_that_the_caller_may_read() -> None:
    """A server may return those of a whole folder. The client keeps them for itself only."""
    kept = [b'{"uri":"x:1", "text":"t"}', b'{"uri":"x:1","blob":""}']
    others = [b'{"uri":"y:1","text":"secret"}', b'{"text":"secret"}', b'"secret"']
    text = b'{"contents":[%b],"ttlMs":9,"cacheScope":"public","other": 1}'
    found = whole(
        filter_contents(text % b" , ".join([*others, *kept]), lambda uri: uri == "x:1", 5)
    )
    assert found == (
        b'{"contents":[%b],"ttlMs":5,"cacheScope":"private","other":1}' % b",".join(kept)
    )
    legacy = whole(filter_contents(text % b"", allows_read, None))
    assert legacy == b'{"contents":[],"other":1}'


def test_a_read_that_asks_the_client_stays_as_it_is() -> None:
    text = b'{ "resultType":"input_required" }'
    assert whole(filter_contents(text, allows_read, 5)) == text
    with pytest.raises(UnusableResponseError, match=r"result\.contents is not an array"):
        whole(filter_contents(b'{"contents":{}}', allows_read, 5))
