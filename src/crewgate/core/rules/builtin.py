"""The rules that `[loops]` switches on.

Their numbers are those of tools that stop loops of one agent (OpenClaw, OpenHands): a warning after
some three equal answers, a refusal at ten equal calls, the end at twenty.
"""

from crewgate.core.rules.rule import Rule, RuleKind, RuleMode


def builtin_rules(mode: RuleMode, *, warn: int, refuse: int, end: int) -> tuple[Rule, ...]:
    """Return the built-in rules. Each has the name of its kind."""
    wanted = {
        RuleKind.SAME_ANSWER: (warn, None, None),
        RuleKind.SAME_FAILURE: (warn, None, None),
        RuleKind.SAME_CALL: (None, refuse, end),
        RuleKind.ALTERNATION: (None, refuse, end),
        RuleKind.REFUSED_CALLS: (refuse, None, end),
    }
    return tuple(Rule(kind.value, kind, mode, *found) for kind, found in wanted.items())
