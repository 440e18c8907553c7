"""[[crossing]]: which orchestrators may call what of another crew without a token, for how much."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.config import CrossingConfig, load
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
SITE = """\
audience = "here"
workers = 0

[crew.bd]
issuer = "https://bd.example"
jwks = "bd.json"
tools = []

[crew.finance]
issuer = "https://finance.example"
jwks = "finance.json"
tools = []

[upstream.local]
url = "http://127.0.0.1:9000"

[tool."finance.quote"]
method = "POST"
path = "/quote"
upstream = "local"
price = "0.01"
owner = "finance"

[tool."finance.rates"]
method = "GET"
path = "/rates"
upstream = "local"
price = "0.01"
"""
CROSSING = """
[[crossing]]
from = "bd"
to = "finance"
tools = ["finance.*"]
credits_per_hour = "100"
credits_per_run = "2.5"
"""


def test_every_key_arrives(write: Write) -> None:
    """Credits as micro-credits; a ceiling that is not given does not apply."""
    config = load(write(SITE + CROSSING))
    assert config.crossings == (
        CrossingConfig("bd", "finance", ("finance.*",), 100_000_000, 2_500_000),
    )
    assert config.crossings[0].account == "bd:finance"
    config = load(write(SITE + CROSSING.replace('credits_per_hour = "100"\n', "")))
    assert config.crossings[0].credits_per_hour == limits.quota_micro_max
    assert load(write(SITE)).crossings == ()


BAD = [
    ('from = "bd"', 'from = "db"', 'crossing[0].from = "db": no such crew; known: bd, finance'),
    ('to = "finance"', 'to = "fin"', 'crossing[0].to = "fin": no such crew; known: bd, finance'),
    ('from = "bd"', 'from = "finance"', "crossing[0].to: the same crew"),
    ('from = "bd"\n', "", "crossing[0].from: missing"),
    ('to = "finance"', 'to = "finance:bd"', "crossing[0].to = "),
    ('tools = ["finance.*"]', "tools = []", "crossing[0].tools = []: expected a list of 1 to 64"),
    ('tools = ["finance.*"]\n', "", "crossing[0].tools: missing"),
    ('["finance.*"]', '["*"]', 'crossing[0].tools = ["*"]: expected'),
    ('["finance.*"]', '["finance.rates"]', 'covers no tool whose owner is "finance"; it owns: f'),
    ('["finance.*"]', '["search.*"]', '"search.*" covers no tool whose owner is "finance"'),
    ('"2.5"', "2.5", "crossing[0].credits_per_run = 2.5: expected credits as a text"),
    (
        'credits_per_hour = "100"\ncredits_per_run = "2.5"\n',
        "",
        "credits_per_hour, credits_per_run",
    ),
    ("credits_per_run", "credits_per_rum", 'unknown key; did you mean "credits_per_run"?'),
    ("[[crossing]]", "[crossing]", "crossing = "),
]


@pytest.mark.parametrize(("good", "bad", "told"), BAD)
def test_one_wrong_thing_is_refused_where_it_stands(
    write: Write, good: str, bad: str, told: str
) -> None:
    """The error names the key and says what was expected."""
    assert good in CROSSING
    with pytest.raises(ConfigurationError) as caught:
        load(write(SITE + CROSSING.replace(good, bad)))
    assert told in str(caught.value), caught.value


def test_a_pair_stands_there_once(write: Write) -> None:
    """Which of two ceilings would hold is not to be guessed."""
    with pytest.raises(
        ConfigurationError, match=r"crossing\[1\]: crossing\[0\] has the same from and to"
    ):
        load(write(SITE + CROSSING * 2))


def test_there_are_so_many_at_most(write: Write) -> None:
    """Each is an account in every gate."""
    many = CROSSING * (limits.crossings_max + 1)
    with pytest.raises(ConfigurationError, match=r"crossing: 257 tables; at most 256 are possible"):
        load(write(SITE + many))


def test_what_would_not_fit_into_a_token(write: Write) -> None:
    """Two names that are one claim, and a list of tools that is another, have bounds together."""
    long, site = "b" * 64, SITE.replace("finance]", "f" * 64 + "]").replace("crew.bd", "crew.B")
    site = site.replace("crew.B", f"crew.{long}").replace(
        'owner = "finance"', f'owner = "{"f" * 64}"'
    )
    crossing = CROSSING.replace('"bd"', f'"{long}"').replace('"finance"', f'"{"f" * 64}"')
    with pytest.raises(ConfigurationError, match=r"have 128 characters; at most 127"):
        load(write(site + crossing))
    names = [f"finance.{'n' * 100}{number:02}" for number in range(10)]
    route = SITE[SITE.index('[tool."finance.quote"]') : SITE.index('[tool."finance.rates"]')]
    tools = "".join(
        route.replace("finance.quote", name).replace("/quote", f"/{name}") for name in names
    )
    listed = ", ".join(f'"{name}"' for name in names)
    with pytest.raises(ConfigurationError, match=r"1100 characters in all; at most 1024"):
        load(write(SITE + tools + CROSSING.replace('"finance.*"', listed)))
