"""[loops] and [rule.NAME]: what a branch may do again and again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.cli.check.rules import missing_rules, rule_warnings
from crewgate.config import load
from crewgate.config.rules import loop_rules
from crewgate.core.rules.rule import LoopRules, Rule, RuleKind, RuleMode
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
SITE = """\
audience = "here"
workers = 0

[crew.article]
issuer = "https://article.example"
jwks = "article.json"
tools = []

[upstream.local]
url = "http://127.0.0.1:9000"

[tool."search.web"]
method = "POST"
path = "/search"
upstream = "local"
price = "0.01"
"""


def rules_of(write: Write, text: str) -> LoopRules:
    config = load(write(f"{SITE}\n{text}\n"))
    return loop_rules(config.loops, config.rules)


def test_without_the_tables_there_is_no_rule(write: Write) -> None:
    """An upgrade refuses nothing that was permitted before."""
    assert rules_of(write, "") == LoopRules()
    assert rules_of(write, "[loops]") == LoopRules()


def test_the_built_in_rules_have_the_numbers_of_their_table(write: Write) -> None:
    found = rules_of(
        write,
        '[loops]\nmode = "enforce"\nwarn = 3\nrefuse = 5\nend = 7\npause_seconds = 60\n'
        'exempt_tools = ["search.*"]\nvolatile_members = ["nonce"]',
    )
    numbers = {rule.name: rule.limits for rule in found.rules}
    assert numbers == {
        "same-answer": (3, None, None),
        "same-failure": (3, None, None),
        "same-call": (None, 5, 7),
        "alternation": (None, 5, 7),
        "refused-calls": (5, None, 7),
    }
    assert {rule.mode for rule in found.rules} == {RuleMode.ENFORCE}
    assert (found.pause_seconds, found.exempt_tools, found.volatile_members) == (
        60, ("search.*",), ("nonce",),
    )  # fmt: skip


def test_a_rule_has_all_its_keys(write: Write) -> None:
    found = rules_of(
        write,
        '[rule.spend]\nkind = "credits-per-minute"\nmode = "enforce"\nwarn = "0.50"\n'
        'refuse = "1"\ncrew = "article"\nrole = "researcher"\ntools = ["search.*"]',
    )
    assert found.rules == (
        Rule(
            "spend", RuleKind.CREDITS_PER_MINUTE, RuleMode.ENFORCE, 500_000, 1_000_000, None,
            "article", "researcher", ("search.*",),
        ),
    )  # fmt: skip


def test_a_rule_replaces_the_built_in_one_of_its_name(write: Write) -> None:
    text = '[loops]\nmode = "enforce"\n[rule.same-call]\nkind = "same-call"\n'
    found = rules_of(write, f"{text}end = 50")
    assert [rule.limits for rule in found.rules if rule.name == "same-call"] == [(None, None, 50)]
    found = rules_of(write, f'{text}end = 50\nmode = "off"')
    assert "same-call" not in {rule.name for rule in found.rules}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[rule.a]\nkind = "same-call"', "needs a limit: give `warn`, `refuse` or `end`"),
        ('[rule.a]\nkind = "same-call"\nwarn = 9\nend = 3', "needs warn <= refuse <= end"),
        ('[rule.a]\nkind = "wall-time"\nend = "1.5"', "must be a whole number for this kind"),
        ('[rule.a]\nkind = "credits-per-minute"\nend = 5', 'must be credits as a text such as "0.'),
        ('[rule.a]\nkind = "refused-calls"\nrefuse = 5', "such calls are refused already"),
        ('[rule.a]\nkind = "same-call"\nend = 99999', "must be at most 10000 for this kind"),
        ('[rule.a]\nkind = "sometimes"\nend = 5', "sometimes"),
        (
            '[rule.a]\nkind = "same-call"\nend = 5\ncrew = "bd"',
            'rule.a.crew = "bd": no such crew; known: article',
        ),
        ('[rule.a]\nkind = "same-call"\nend = 1', "must be at least 2 for this kind"),
        ("[loops]\nwarn = 30", "needs warn <= refuse <= end"),
        ('[loops]\nmode = "on"', "on"),
    ],
)
def test_a_mistake_is_named(write: Write, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        rules_of(write, text)
    assert says in str(caught.value)


def test_there_are_not_more_rules_than_a_branch_has_bits(write: Write) -> None:
    many = "".join(
        f'[rule.r{n}]\nkind = "wall-time"\nend = {n + 1}\n' for n in range(limits.rules_max)
    )
    assert len(rules_of(write, many).rules) == limits.rules_max
    with pytest.raises(ConfigurationError, match="at most 32 work"):
        rules_of(write, f'{many}[loops]\nmode = "observe"')


def test_patterns_without_a_tool_are_found(write: Write) -> None:
    text = (
        '[loops]\nmode = "observe"\nexempt_tools = ["jobs.*", "search.*"]\n'
        '[rule.a]\nkind = "same-call"\nend = 5\ntools = ["serach.web"]'
    )
    assert list(rule_warnings(load(write(f"{SITE}\n{text}\n")))) == [
        "rule.a: tools: serach.web covers no tool of this file; correct the name",
        "loops: exempt_tools: jobs.* covers no tool of this file; correct the name",
    ]


def test_a_rule_that_takes_the_name_of_another_kind_is_found(write: Write) -> None:
    """The built-in rule of that name would count no more."""
    rule = '[rule.same-call]\nkind = "same-answer"\nend = 5\n'
    [warning] = rule_warnings(load(write(f'{SITE}\n[loops]\nmode = "observe"\n{rule}')))
    assert "it replaces the built-in rule same-call, but counts same-answer" in warning
    assert not list(rule_warnings(load(write(f"{SITE}\n{rule}"))))


def test_a_gateway_without_a_rule_gets_advice(write: Write) -> None:
    [advice] = missing_rules(load(write(SITE)))
    assert 'mode = "observe"' in advice
    assert not list(missing_rules(load(write(f'{SITE}\n[loops]\nmode = "observe"\n'))))
