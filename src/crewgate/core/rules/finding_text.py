"""Writes what a rule on branches has found, for models and for people."""

from crewgate.core.credits import format_credits
from crewgate.core.rules.rule import RuleKind, RuleStep, StepFinding

# What was counted; the count stands in front.
_COUNTED: dict[str, str] = {
    RuleKind.SAME_CALL: "equal calls in a row",
    RuleKind.SAME_ANSWER: "equal calls whose answers were equal too",
    RuleKind.SAME_FAILURE: "equal calls that failed",
    RuleKind.ALTERNATION: "rounds of the same calls in turn",
    RuleKind.REFUSED_CALLS: "refused calls in a row",
    RuleKind.CALLS_PER_MINUTE: "calls in this minute",
    RuleKind.CREDITS_PER_MINUTE: "credits in this minute",
    RuleKind.WALL_TIME: "seconds since the first call",
    RuleKind.LIVE_BRANCHES: "live branches below this one",
}
_INSTEAD = (
    "Do not repeat the call: use what it has answered, do something else, or report that the task "
    "cannot be done."
)
_ENDED = "It answers no further call: report what you have, and that the task was ended."
_LATER = "Make fewer calls, or wait for the next minute."
_TOO_MUCH = "Finish the task, or report that it cannot be done."
_ADVICE = {
    RuleKind.CALLS_PER_MINUTE: _LATER,
    RuleKind.CREDITS_PER_MINUTE: _LATER,
    RuleKind.WALL_TIME: _TOO_MUCH,
    RuleKind.LIVE_BRANCHES: _TOO_MUCH,
}


def count_text(finding: StepFinding) -> str:
    """Return what a rule has counted, such as "10 equal calls in a row"."""
    kind = finding.rule.kind
    where = " of this run and all its branches" if finding.level else ""
    return f"{_amount(kind, finding.count)} {_COUNTED[kind]}{where}"


def end_reason(rule: str, kind: str, count: int, limit: int) -> str:
    """Return why the rule of this name ends a branch; `kind` may be one that is not known here."""
    counted = _COUNTED.get(kind, "")
    return (
        f"rule {rule} has counted {_amount(kind, count)} {counted}".rstrip()
        + f", and ends a branch at {_amount(kind, limit)}"
    )


def step_text(finding: StepFinding) -> str:
    """Return from which count on a rule does what, such as "it refuses calls from 10 on"."""
    verbs = {
        RuleStep.WARN: ("it warns", "it warns"),
        RuleStep.REFUSE: ("it refuses calls", "it would refuse calls"),
        RuleStep.END: ("it ends the branch", "it would end the branch"),
    }
    verb = verbs[finding.step][not finding.is_enforced]
    return f"{verb} from {_amount(finding.rule.kind, finding.limit)} on"


def explanation(finding: StepFinding) -> str:
    """Return what a rule has counted, what it does, and what to do instead."""
    advice = _ADVICE.get(finding.rule.kind, _INSTEAD)
    done = {
        RuleStep.WARN: "",
        RuleStep.REFUSE: " The gateway refuses such calls.",
        RuleStep.END: " The gateway ends the branch.",
    }[finding.step if finding.is_enforced else RuleStep.WARN]
    if finding.step is RuleStep.END and finding.is_enforced:
        advice = _ENDED
    next_limit = finding.rule.refuse if finding.step is RuleStep.WARN else None
    if next_limit is not None and finding.rule.kind.compares_calls:
        done = f" At {next_limit}, the gateway refuses the call."
    return f"Rule {finding.rule.name} has counted {count_text(finding)}.{done} {advice}"


def warning_value(finding: StepFinding) -> bytes:
    """Return the value of the header field of a warning (RFC 9651: an item with parameters)."""
    text = f'"{finding.rule.name}";step={finding.step};count={finding.count};limit={finding.limit}'
    if not finding.is_enforced:
        text += ";observe"
    return text.encode("ascii")


def _amount(kind: str, count: int) -> str:
    return format_credits(count) if kind == RuleKind.CREDITS_PER_MINUTE else str(count)


WARNING_FIELD = b"x-crewgate-loop"
