"""`[crew.NAME.role.ROLE]` and `[crew.NAME.orchestrator.NAME]`: values, defaults and mistakes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import load
from crewgate.core.policy.policy import Ceiling
from crewgate.errors import ConfigurationError
from crewgate.policy.loader import crew_policy

Write = Callable[[str], Path]
TABLES = """
[crew.article.role.researcher]
tools = ["search.web"]
credits_per_branch = "2.50"
lifetime_seconds = 120
depth = 1
binding = "required"
[crew.article.role."team/writer"]
[crew.article.orchestrator.night]
credits_per_branch = "10"
"""


def test_tables_become_ceilings(write: Write, whole: str) -> None:
    """A key that is not there has the value of the crew."""
    (config,) = load(write(whole + TABLES)).crews
    crew = crew_policy(config)
    assert crew.roles == {
        "researcher": Ceiling(
            "role researcher of crew article", ("search.web",), 2_500_000, 120, 1, True
        ),
        "team/writer": Ceiling(
            "role team/writer of crew article",
            crew.tools,
            crew.quota_max,
            crew.lifetime_seconds_max,
            crew.depth_max,
        ),
    }
    night = crew.orchestrators["article/night"]
    assert (night.label, night.quota_max) == ("orchestrator article/night", 10_000_000)
    assert crew.ceilings("researcher", "article/day") == (crew, crew.roles["researcher"])
    assert not crew.permits_role("editor")


def test_a_crew_without_tables_permits_every_role(write: Write, whole: str) -> None:
    """Roles are free text until a crew lists them."""
    crew = crew_policy(load(write(whole)).crews[0])
    assert crew.permits_role("editor")
    assert crew.ceilings("editor", "article/night") == (crew,)


BAD = [
    ('"search.web"', '"bank.pay"', 'crew.article.role: "researcher": tools: bank.pay is outside'),
    ('"2.50"', '"1001"', "credits_per_branch: the crew allows at most 1000"),
    ("lifetime_seconds = 120", "lifetime_seconds = 901", "lifetime_seconds = 901: expected"),
    ("depth = 1", "depth = -1", "depth = -1: expected a whole number from 0"),
    ('"team/writer"', '"team writer"', "the name 'team writer': expected a text of 1 to"),
    (
        'credits_per_branch = "10"',
        "credit = 1",
        "credit: unknown key; known: tools, credits_per_branch",
    ),
]


@pytest.mark.parametrize(("good", "bad", "told"), BAD)
def test_one_wrong_thing_is_refused_where_it_stands(
    write: Write, whole: str, good: str, bad: str, told: str
) -> None:
    """A ceiling above the crew's would promise more than gateways allow."""
    assert good in TABLES
    with pytest.raises(ConfigurationError) as error:
        load(write(whole + TABLES.replace(good, bad)))
    assert told in str(error.value)


def test_an_optional_binding_below_a_required_one_is_refused(write: Write, whole: str) -> None:
    """It would read as an exception, and there is none."""
    text = whole.replace("[crew.article]\n", '[crew.article]\nbinding = "required"\n')
    good = load(write(text + TABLES)).crews[0]
    assert {each.binding for each in good.roles} == {"required"}
    bad = TABLES.replace('"required"', '"optional"')
    with pytest.raises(ConfigurationError, match='binding: the crew has "required"'):
        load(write(text + bad))
