"""Which steps of rules are recorded: each once for a branch, until its count is lower again.

The gate does the same with bits in the shared table (`_native/rules.pyx`).
"""

from collections.abc import Callable, Sequence

from crewgate.core.rules.activity import BranchActivity, judge
from crewgate.core.rules.rule import STEPS, Rule, RuleKind, RuleStep, StepFinding

# Their counts grow and shrink with time, whatever the branch calls.
_TIMELY = frozenset(
    {
        RuleKind.CALLS_PER_MINUTE,
        RuleKind.CREDITS_PER_MINUTE,
        RuleKind.WALL_TIME,
        RuleKind.LIVE_BRANCHES,
    }
)
Found = tuple[list[StepFinding], list[StepFinding]]  # all steps, and those to record


def judge_call(
    rules: Sequence[Rule],
    levels: Sequence[BranchActivity],
    call: int,
    ms: int,
    watches: Callable[[Rule], bool],
) -> Found:
    """Return the steps that rules take for a call, and those of them that are recorded.

    `rules` are those that watch the calls of the caller's role. `watches` says whether a rule
    watches this tool. The other arguments are those of `judge`.
    """
    timely = [rule for rule in rules if rule.kind in _TIMELY]
    for activity in levels if timely else ():
        counts = activity.counts(call, ms)
        for rule in timely:
            activity.forget_above(rule, rule.step_at(counts[rule.kind]))
    found = [each for each in judge(rules, levels, call, ms) if watches(each.rule)]
    return found, [each for each in found if levels[each.level].note(each.rule, each.step)]


def judge_refusal(rules: Sequence[Rule], levels: Sequence[BranchActivity], ms: int) -> Found:
    """Count a call that was refused for its tool; return the step that a rule takes.

    Of a branch above the caller's, a rule only warns: many children may each be refused once before
    any of them does its work, and such calls cost nothing.
    """
    for level, activity in enumerate(levels):
        count = activity.note_refusal(ms)
        for rule in rules:
            most = RuleStep.WARN if level else RuleStep.END
            step = rule.step_at(count, most) if rule.kind is RuleKind.REFUSED_CALLS else None
            limit = None if step is None else rule.limits[STEPS.index(step)]
            if step is not None and limit is not None:
                found = StepFinding(rule, step, count, limit, level)
                return [found], [found] if activity.note(rule, step) else []
    return [], []
