"""What rules on branches have counted and done lately, for the branch tree."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from crewgate._native.activity_reader import read_activities
from crewgate._native.table import Table
from crewgate.core.rules.rule import STEPS, Rule, RuleMode, RuleStep, step_rank


class RecentActivity(NamedTuple):
    """The fields of a `TreeRow` about calls and rules, by the names that they have there."""

    calls: int = -1
    rule: str = ""
    rule_step: RuleStep | None = None
    rule_mode: RuleMode | None = None


NO_ACTIVITY = RecentActivity()


def recent_activities(
    table: Table, boot_ns: int, rules: Sequence[Rule]
) -> Mapping[int, RecentActivity]:
    """Return the activity of each branch whose calls `rules` count, by its record number."""
    counted = read_activities(table, boot_ns)
    made = {each: _activity(each.calls, each.noted, rules) for each in {*counted.values()}}
    return {number: made[each] for number, each in counted.items()}


def _activity(calls: int, noted: Sequence[int], rules: Sequence[Rule]) -> RecentActivity:
    """Name the rule that has gone furthest; bit n of each word of `noted` is that of rule n."""
    if not any(noted):
        return RecentActivity(calls)
    taken = [
        (step_rank(step, rule.mode), rule, step)
        for step, bits in zip(STEPS, noted, strict=True)
        for bit, rule in enumerate(rules)
        if bits >> bit & 1
    ]
    if not taken:  # by rules of an earlier configuration
        return RecentActivity(calls)
    _, rule, step = max(taken, key=lambda each: each[0])
    return RecentActivity(calls, rule.name, step, rule.mode)
