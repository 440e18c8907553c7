"""A configuration compiled for serving, and where the upstreams' credentials come from."""

from pathlib import Path

from gateway_world import config_of
from msgspec.structs import replace

from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config import UpstreamConfig, UpstreamOrigin
from crewgate.config.judged_tools import judged_tools
from crewgate.core.bearer import Credentials
from crewgate.gateway.routes import build
from crewgate.upstream.connector import Connector
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver

ORIGIN = UpstreamOrigin("http", "127.0.0.1", 9)


def _pool() -> UpstreamPool:
    upstream = UpstreamConfig("tools", (ORIGIN,))
    return UpstreamPool(upstream, Connector(upstream, SocketPoller(), None), Resolver())


def test_entries_have_the_policy_s_numbers(tmp_path: Path) -> None:
    """The gate and the routes number tools and endpoints alike."""
    config = config_of(ORIGIN, tmp_path)
    site = build(config, {"tools": _pool()})
    numbered = judged_tools(config)
    assert [numbered[entry.index].name for entry in site.entries] == [
        entry.name for entry in site.entries
    ]
    assert {entry.name for entry in site.entries} == {
        each.name for each in (*config.tools, *config.mcp, *config.a2a)
    }
    entry = site.find(b"POST", b"/v1/embeddings", b"a")
    assert entry is not None
    assert (entry.name, entry.decides_on_body) == ("embeddings.create", True)
    assert site.find(b"GET", b"/nowhere", b"a") is None
    for carrier, token in ((b"authorization", b"Bearer t"), (b"x-api-key", b"t")):
        assert site.tokens.find([(carrier, token)], b"") == Credentials(b"t", None)


def test_metadata_is_for_the_hosts_of_the_endpoint(tmp_path: Path) -> None:
    """Another host has no such endpoint, so no client may learn of one there."""
    config = config_of(ORIGIN, tmp_path)
    files = replace(config.mcp[0], hosts=("files.example",))
    site = build(replace(config, mcp=(files, *config.mcp[1:])), {"tools": _pool()})
    path = b"/.well-known/oauth-protected-resource"
    found = site.metadata_of(path + b"/mcp/files", b"files.example:8443")
    assert found is not None
    assert b'"https://files.example:8443/mcp/files"' in found
    assert site.metadata_of(path + b"/mcp/files", b"other.example") is None
    assert site.metadata_of(path + b"/mcp/modern", b"other.example") is not None
    assert site.metadata_of(path, b"other.example") is not None


def test_token_carriers_of_any_tool_never_go_upstream(tmp_path: Path) -> None:
    """What one tool takes as a token is dropped for every other, too."""
    site = build(config_of(ORIGIN, tmp_path), {"tools": _pool()})
    assert all(
        entry.fields.filter.kept([(b"x-api-key", b"k")], b"") == [] for entry in site.entries
    )


def test_nothing_of_a_site_shows_the_credential(tmp_path: Path) -> None:
    """A site that gets into a log or a traceback tells no secret, however it is spelled."""
    site = build(config_of(ORIGIN, tmp_path), {"tools": _pool()})
    assert any(b"s3cret" in entry.lines for entry in site.entries)
    assert "s3cret" not in repr(site)
