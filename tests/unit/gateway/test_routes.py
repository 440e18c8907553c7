"""A configuration compiled for serving, and where the upstreams' credentials come from."""

from pathlib import Path

import msgspec
import pytest
from gateway_world import config_of

from crewgate.config import CredentialConfig, UpstreamConfig, UpstreamOrigin
from crewgate.errors import ConfigurationError
from crewgate.gateway.routes import build, read_credential
from crewgate.server import SocketPoller
from crewgate.upstream import Connector, Resolver, UpstreamPool

ORIGIN = UpstreamOrigin("http", "127.0.0.1", 9)


def _upstream(**credential: object) -> UpstreamConfig:
    return UpstreamConfig(
        "tools", (ORIGIN,), CredentialConfig(**{"header": "authorization", **credential})
    )


def _pool() -> UpstreamPool:
    upstream = UpstreamConfig("tools", (ORIGIN,))
    return UpstreamPool(upstream, Connector(upstream, SocketPoller(), None), Resolver())


def test_entries_have_the_policy_s_numbers(tmp_path: Path) -> None:
    """A tool's number is its place in the file: the gate and the site must agree."""
    config = config_of(ORIGIN, tmp_path)
    site = build(config, {"tools": _pool()})
    assert [entry.name for entry in site.entries] == [tool.name for tool in config.tools]
    assert [entry.index for entry in site.entries] == list(range(len(config.tools)))
    entry = site.find(b"POST", b"/v1/embeddings", b"a")
    assert entry is not None
    assert (entry.name, entry.decides_on_body) == ("embeddings.create", True)
    assert site.find(b"GET", b"/nowhere", b"a") is None
    for carrier, token in ((b"authorization", b"Bearer t"), (b"x-api-key", b"t")):
        assert site.tokens.find([(carrier, token)], b"") == b"t"


def test_token_carriers_of_any_tool_never_go_upstream(tmp_path: Path) -> None:
    """What one tool takes as a token is dropped for every other, too."""
    site = build(config_of(ORIGIN, tmp_path), {"tools": _pool()})
    assert all(
        entry.fields.filter.kept([(b"x-api-key", b"k")], b"") == [] for entry in site.entries
    )


def test_credential_of_file_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefix goes before the secret, and the line's end is no part of it."""
    secret = tmp_path / "key"
    secret.write_text("s3cret\n")
    monkeypatch.setenv("TOOLS_KEY", "other")
    expected = (b"authorization", b"Bearer s3cret")
    assert read_credential(_upstream(prefix="Bearer ", file=secret)) == expected
    assert read_credential(_upstream(env="TOOLS_KEY")) == (b"authorization", b"other")
    assert read_credential(msgspec.structs.replace(_upstream(), credential=None)) is None


@pytest.mark.parametrize("content", [None, "", "a\r\nb", "ä"])
def test_credential_that_cannot_be_used(content: str | None, tmp_path: Path) -> None:
    """A missing, empty or unprintable secret is said with its place, and never shown."""
    secret = tmp_path / "key"
    if content is not None:
        secret.write_text(content)
    with pytest.raises(ConfigurationError, match=str(secret)) as raised:
        read_credential(_upstream(file=secret))
    assert content is None or len(content) < 2 or content not in str(raised.value)


def test_nothing_of_a_site_shows_the_credential(tmp_path: Path) -> None:
    """A site that gets into a log or a traceback tells no secret, however it is spelled."""
    site = build(config_of(ORIGIN, tmp_path), {"tools": _pool()})
    assert any(b"s3cret" in entry.lines for entry in site.entries)
    assert "s3cret" not in repr(site)
