"""Which rule the branch tree names at a branch."""

from unittest.mock import patch

from crewgate._native.records import CountedActivity
from crewgate._native.table import Table
from crewgate.agent import recent_activity
from crewgate.agent.recent_activity import RecentActivity, recent_activities
from crewgate.core.rules.rule import Rule, RuleKind, RuleMode, RuleStep

RULES = (
    Rule("seen", RuleKind.SAME_CALL, RuleMode.OBSERVE),
    Rule("forced", RuleKind.SAME_ANSWER, RuleMode.ENFORCE),
)


def activity(calls: int, *noted: int) -> RecentActivity:
    counted = {7: CountedActivity(calls, noted)}  # type: ignore[arg-type]
    with patch.object(recent_activity, "read_activities", lambda *_: counted):
        return recent_activities(Table(), 0, RULES)[7]


def test_the_rule_that_has_gone_furthest_is_named() -> None:
    """A step in force goes further than one that is only observed."""
    assert activity(3, 0, 0, 0) == RecentActivity(3)
    assert activity(3, 3, 0, 0)[2:] == (RuleStep.WARN, RuleMode.OBSERVE)
    assert activity(3, 3, 3, 1) == RecentActivity(3, "forced", RuleStep.REFUSE, RuleMode.ENFORCE)
    assert activity(3, 3, 1, 1) == RecentActivity(3, "seen", RuleStep.END, RuleMode.OBSERVE)


def test_bits_of_rules_that_are_gone_name_nothing() -> None:
    """The configuration has fewer rules now."""
    assert activity(3, 0, 1 << 9, 0) == RecentActivity(3)
