"""Where an orchestrator's calls go: which listener, under which name."""

from pathlib import Path

import msgspec
import pytest

from crewgate.cli.commands.init import write_all
from crewgate.config import Config, load
from crewgate.errors import ConfigurationError, SidecarError
from crewgate.issuer.control_api.gateway_address import (
    find_gateway_for_certificates,
    find_gateway_for_tokens,
)

TRUST = Path("ca.pem")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """What `init` writes; nothing serves it."""
    return load(write_all(tmp_path / "gateway", 9000))


def changed(config: Config, **fields: object) -> Config:
    """The configuration with another crews' listener."""
    agents, crews = config.listeners
    crews = msgspec.structs.replace(crews, **fields)
    return msgspec.structs.replace(config, listeners=(agents, crews))


def test_the_listener_that_requires_certificates(config: Config) -> None:
    """The one that `init` writes, and what CMD puts before a path."""
    way = find_gateway_for_certificates(config, "article", None, TRUST)
    assert (way.host, way.port, way.server_name) == ("127.0.0.1", 9001, "127.0.0.1")
    assert way.url == "http://127.0.0.1:9001"


@pytest.mark.parametrize(
    ("fields", "host", "url"),
    [
        ({"address": "0.0.0.0"}, "127.0.0.1", "http://127.0.0.1:9001"),
        ({"address": "::"}, "::1", "http://[::1]:9001"),
        ({"hosts": ("gw.example",)}, "127.0.0.1", "http://gw.example:9001"),
        ({"client_certificate": "optional"}, "127.0.0.1", "http://127.0.0.1:9001"),
        ({"crews": ("finance", "article")}, "127.0.0.1", "http://127.0.0.1:9001"),
    ],
)
def test_however_it_is_bound_and_called(
    config: Config, fields: dict[str, object], host: str, url: str
) -> None:
    """An address of this machine, and the name that it serves."""
    way = find_gateway_for_certificates(changed(config, **fields), "article", None, TRUST)
    assert (way.host, way.url) == (host, url)


@pytest.mark.parametrize("fields", [{"client_certificate": "none"}, {"crews": ("finance",)}])
def test_without_such_a_listener(config: Config, fields: dict[str, object]) -> None:
    """What to add to the file."""
    with pytest.raises(ConfigurationError, match="no listener admits certificates of crew article"):
        find_gateway_for_certificates(changed(config, **fields), "article", None, TRUST)


@pytest.mark.parametrize(
    ("at", "host", "port"),
    [
        ("gw.example:8444", "gw.example", 8444),
        ("[::1]:1", "::1", 1),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
    ],
)
def test_at_an_address_that_was_given(config: Config, at: str, host: str, port: int) -> None:
    """The configuration's listeners do not matter then."""
    way = find_gateway_for_certificates(
        changed(config, client_certificate="none"), "article", at, TRUST
    )
    assert (way.host, way.port, way.server_name) == (host, port, host)


@pytest.mark.parametrize("at", ["", "x", ":1", "x:", "x:0", "x:65536", "::1:80", "x:1x"])
def test_what_is_no_address_is_told(config: Config, at: str) -> None:
    """With the form that is expected."""
    with pytest.raises(SidecarError, match="expected HOST:PORT"):
        find_gateway_for_certificates(config, "article", at, TRUST)


def test_the_listener_for_tokens_asks_for_no_certificate(config: Config) -> None:
    """The first one; its clients trust the CA of the configuration."""
    assert config.ca is not None
    way = find_gateway_for_tokens(config, "article")
    assert (way.origin, way.trust) == ("https://127.0.0.1:9000", config.ca.root)
    assert way.context().check_hostname
    alone = msgspec.structs.replace(config, listeners=config.listeners[1:])
    with pytest.raises(ConfigurationError, match="add a listener without client_certificate"):
        find_gateway_for_tokens(alone, "article")
