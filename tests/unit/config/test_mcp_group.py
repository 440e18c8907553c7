"""Groups of MCP endpoints: what a configuration says of them, and its mistakes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import load
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
ENDPOINTS = """
audience = "here"
workers = 0
[upstream.tools]
url = "https://tools.example"
[mcp.files]
path = "/mcp/files"
rewrite = "/mcp"
hosts = ["one.example"]
upstream = "tools"
price = "0.01"
[mcp.search]
path = "/search"
upstream = "tools"
price = "0.02"
[mcp.a__b]
path = "/mcp/ab"
upstream = "tools"
price = "0.02"
[mcp_group.team]
path = "/mcp/team"
servers = ["files", "search"]
"""


def test_clients_of_a_group_reach_its_endpoints_at_its_path(write: Write) -> None:
    """The path at each server, the price and all else are those of the endpoint."""
    config = load(write(ENDPOINTS + 'refusals = "result"'))
    (group,) = config.mcp_groups
    found = config.members_of(group)
    assert [(each.name, each.path, each.rewrite, each.price, each.hosts) for each in found] == [
        ("files", "/mcp/team", "/mcp", 10_000, ()),
        ("search", "/mcp/team", "/search", 20_000, ()),
    ]
    assert {each.refusals for each in found} == {"result"}


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('["files", "search"]', '["files", "other"]', "no [mcp.other]; known: a__b, files, search"),
        ('["files", "search"]', '["files", "a__b"]', '"a__b" cannot stand before the name'),
        ("/mcp/team", "/mcp/{name}", "expected one path"),
        ("/mcp/team", "/search", "search"),
        ("mcp_group.team", "mcp_group.files", "[mcp.files] has this name too"),
    ],
)
def test_a_mistake_is_named(write: Write, before: str, after: str, problem: str) -> None:
    """With the table and the key to change."""
    with pytest.raises(ConfigurationError) as raised:
        load(write(ENDPOINTS.replace(before, after)))
    assert "mcp_group." in str(raised.value)
    assert problem in str(raised.value)
