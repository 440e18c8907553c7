import base64
import json
from pathlib import Path

import msgspec
import pytest
from nacl.signing import SigningKey

from crewgate.config import Config, load
from crewgate.core.policy.policy import CrewPolicy, ToolPolicy, VerificationKey
from crewgate.errors import ConfigurationError
from crewgate.policy.loader import load_keys, load_policy

CREWS = """\
audience = "https://gateway.example"
workers = 0

[crew.article]
issuer = "https://article.example"
jwks = "article.json"
tools = ["search.*"]
credits_per_branch = "1000"
credits_per_hour = "2000"
credits_per_day = "3000"
live_branches = 4
new_branches_per_minute = 5
live_revocations = 6
lifetime_seconds = 7
depth = 2
mode = "observe"

[crew.bd]
issuer = "https://bd.example"
jwks = "bd.json"
tools = []

[upstream.local]
url = "http://127.0.0.1:9000"

[tool."search.web"]
method = "POST"
path = "/search"
upstream = "local"
price = "0.01"

[tool."bd.mail"]
method = "POST"
path = "/mail"
upstream = "local"
price = "0"
owner = "bd"
mode = "observe"
"""


def public(seed: int) -> bytes:
    """The public half of a throw-away key."""
    return bytes(SigningKey(bytes([seed]) * 32).verify_key)


def jwks(*keys: tuple[str, bytes]) -> str:
    """A JWKS document of (kid, 32 bytes) pairs."""
    return json.dumps(
        {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "kid": kid,
                    "x": base64.urlsafe_b64encode(x).rstrip(b"=").decode(),
                }
                for kid, x in keys
            ]
        }
    )


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Two crews with a key each."""
    (tmp_path / "crewgate.toml").write_text(CREWS)
    (tmp_path / "article.json").write_text(jwks(("article-1", public(1))))
    (tmp_path / "bd.json").write_text(jwks(("bd-1", public(2))))
    return load(tmp_path / "crewgate.toml")


def test_a_policy_holds_every_ceiling_of_the_configuration(config: Config) -> None:
    """Nothing that the file says about a crew or a tool is lost on the way to the gate."""
    policy = load_policy(config, 42)
    assert (policy.audience, policy.generation) == ("https://gateway.example", 42)
    assert policy.crews == (
        CrewPolicy(
            name="article",
            issuer="https://article.example",
            tools=("search.*",),
            quota_max=1_000_000_000,
            hourly_max=2_000_000_000,
            daily_max=3_000_000_000,
            live_branches_max=4,
            new_branches_per_minute_max=5,
            live_revocations_max=6,
            lifetime_seconds_max=7,
            depth_max=2,
            observe=True,
        ),
        CrewPolicy(name="bd", issuer="https://bd.example"),
    )
    assert policy.tools == (
        ToolPolicy(name="search.web", price=10_000),
        ToolPolicy(name="bd.mail", price=0, owner="bd", observe=True),
    )
    assert policy.keys == (
        VerificationKey(kid="article-1", crew="article", public=public(1)),
        VerificationKey(kid="bd-1", crew="bd", public=public(2)),
    )


def test_a_tool_that_goes_on_when_stale_does_so_at_the_gate(config: Config) -> None:
    """Only where the configuration says so, tool by tool."""
    search, mail = config.tools
    tools = (msgspec.structs.replace(search, when_stale="open"), mail)
    policy = load_policy(msgspec.structs.replace(config, tools=tools), 42)
    assert [tool.stale_open for tool in policy.tools] == [True, False]


def test_a_kid_of_two_crews_names_both_files(config: Config) -> None:
    """A key is found by its kid alone, so two crews may not share one."""
    config.crew("bd").jwks.write_text(jwks(("article-1", public(2))))
    with pytest.raises(ConfigurationError, match=r"bd\.json and .*article\.json both have a key"):
        load_keys(config)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_a_key_that_is_no_good_point_is_refused(config: Config, point: bytes) -> None:
    """Small-order and non-canonical points, for which anyone could sign, are refused."""
    config.crew("bd").jwks.write_text(jwks(("bd-2", point)))
    with pytest.raises(ConfigurationError, match=r"bd\.json: key bd-2: x is not a point"):
        load_keys(config)


def test_a_missing_key_file_is_named_with_its_crew(config: Config) -> None:
    """The error says whose keys are missing and where they were looked for."""
    config.crew("bd").jwks.unlink()
    with pytest.raises(ConfigurationError, match=r"bd\.json: the keys of crew bd cannot be read"):
        load_keys(config)
