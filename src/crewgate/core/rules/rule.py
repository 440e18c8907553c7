"""A rule on branches: its kind says what it counts, its limits say from which count on it acts."""

import enum

import msgspec

from crewgate import limits


class RuleKind(enum.StrEnum):
    """What a rule counts. Equal calls have one digest (`_native/call_digest.h`).

    A count of equal calls begins anew when the branch makes a call that it has not made lately, and
    after a pause.

    - `SAME_CALL`: equal calls, if the branch makes no other ones.
    - `SAME_ANSWER`: equal calls with equal answers in a row.
    - `SAME_FAILURE`: equal calls that failed in a row.
    - `ALTERNATION`: the rounds of two or three calls in turn.
    - `REFUSED_CALLS`: calls in a row that were refused for their tool or their arguments.
    - `CALLS_PER_MINUTE`: calls that were answered in this minute.
    - `CREDITS_PER_MINUTE`: micro-credits that were spent in this minute.
    - `WALL_TIME`: seconds since the first call.
    - `LIVE_BRANCHES`: branches below that are live.
    """

    SAME_CALL = "same-call"
    SAME_ANSWER = "same-answer"
    SAME_FAILURE = "same-failure"
    ALTERNATION = "alternation"
    REFUSED_CALLS = "refused-calls"
    CALLS_PER_MINUTE = "calls-per-minute"
    CREDITS_PER_MINUTE = "credits-per-minute"
    WALL_TIME = "wall-time"
    LIVE_BRANCHES = "live-branches"

    @property
    def compares_calls(self) -> bool:
        """Whether the rule needs the digests of calls."""
        return self in COMPARING_KINDS


COMPARING_KINDS = frozenset(
    {RuleKind.SAME_CALL, RuleKind.SAME_ANSWER, RuleKind.SAME_FAILURE, RuleKind.ALTERNATION}
)


class RuleStep(enum.StrEnum):
    """What a rule does, the mildest first."""

    WARN = "warn"
    REFUSE = "refuse"
    END = "end"


STEPS = tuple(RuleStep)


class RuleMode(enum.StrEnum):
    """Whether a rule only says what it would refuse and end, or does it."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


def step_rank(step: RuleStep | None, mode: RuleMode | None) -> int:
    """Return how far a step goes: 0 for none, and more for a step that is in force."""
    if step is None:
        return 0
    place = STEPS.index(step)
    return 1 + place + (len(STEPS) - 1) * (place > 0 and mode is RuleMode.ENFORCE)


class Rule(msgspec.Struct, frozen=True):
    """One rule. A limit is the count from which on the step is taken; None takes none.

    Attributes:
        name: Its name in the audit and in refusals.
        kind: What it counts.
        mode: Whether it acts.
        warn, refuse, end: The limits; see `RuleKind` for their units.
        crew: The crew whose branches it watches; None for all.
        role: The role whose calls it watches; None for all.
        tools: Names and patterns of the tools whose calls it watches; empty for all.
    """

    name: str
    kind: RuleKind
    mode: RuleMode = RuleMode.OBSERVE
    warn: int | None = None
    refuse: int | None = None
    end: int | None = None
    crew: str | None = None
    role: str | None = None
    tools: tuple[str, ...] = ()

    @property
    def limits(self) -> tuple[int | None, ...]:
        """The limits in the order of `STEPS`."""
        return self.warn, self.refuse, self.end

    def step_at(self, count: int, most: RuleStep = RuleStep.END) -> RuleStep | None:
        """Return the strongest step up to `most` that a count asks for; None for none."""
        for step in reversed(STEPS[: STEPS.index(most) + 1]):
            limit = self.limits[STEPS.index(step)]
            if limit is not None and count >= limit:
                return step
        return None

    def watches(self, crew: str, role: str) -> bool:
        """Return whether it watches the calls of a role of a crew."""
        return self.crew in {None, crew} and self.role in {None, role}


class StepFinding(msgspec.Struct, frozen=True):
    """A step that a rule takes for a call, or would take in observe mode.

    Attributes:
        rule: The rule.
        step: The step.
        count: What it counted, this call included.
        limit: The limit of the step.
        level: How many levels the branch is above the caller's; 0 is the caller's own.
    """

    rule: Rule
    step: RuleStep
    count: int
    limit: int
    level: int = 0

    @property
    def is_enforced(self) -> bool:
        """Whether the gate does what the step says. A warning is given in observe mode too."""
        return self.rule.mode is RuleMode.ENFORCE or self.step is RuleStep.WARN


class LoopRules(msgspec.Struct, frozen=True):
    """The rules of a policy.

    Attributes:
        rules: At most `limits.rules_max`; no two have one name.
        pause_seconds: A longer pause ends a series of equal calls.
        exempt_tools: Names and patterns of tools whose calls may be repeated.
        volatile_members: Names of JSON members that do not make two calls different.
    """

    rules: tuple[Rule, ...] = ()
    pause_seconds: int = limits.rule_pause_seconds
    exempt_tools: tuple[str, ...] = ()
    volatile_members: tuple[str, ...] = ()

    @property
    def compares_calls(self) -> bool:
        """Whether a rule needs the digests of calls and answers."""
        return any(rule.kind.compares_calls for rule in self.rules)
