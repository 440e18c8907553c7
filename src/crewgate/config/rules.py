"""The tables [loops] and [rule.NAME]: what a branch may do again and again."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, TableMap, TableSchema
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.values import Name
from crewgate.core.credits import format_credits
from crewgate.core.rules.builtin import builtin_rules
from crewgate.core.rules.rule import STEPS, LoopRules, Rule, RuleKind, RuleMode

RuleSwitch = Literal["off", "observe", "enforce"]

_MODE_TEXT = (
    'In "observe", warnings are given, and the audit says what would be refused and ended. In '
    '"enforce", it is done.'
)
_EQUAL_CALLS: Final = values.integer(2, limits.rule_equal_calls_max)
_MEMBER: Final = ValueParser("the name of a member", values.matching(values.PRINTABLE, 64))


class _MicroCredits(int):
    """An amount that the file has as credits."""


def _limit(value: object) -> int:
    if isinstance(value, str):
        return _MicroCredits(values.micro_credits(value))
    return values.integer(1, limits.rule_limit_max).read(value)


def _spell(limit: int) -> object:
    return format_credits(limit) if isinstance(limit, _MicroCredits) else limit


_LIMIT: Final = ValueParser(
    'a whole number from 1 (of seconds, if kind is "wall-time"), or credits such as "0.50" if kind '
    'is "credits-per-minute"',
    values.passing(_limit, lambda limit: 1 <= limit <= limits.rule_limit_max),
    {"anyOf": [{"type": "integer", "minimum": 1}, dict(values.CREDITS_SCHEMA)]},
    spell=_spell,
)
_NONE: Final = Key(absent="never")
# Calls are refused already; there is nothing more to refuse.
_WITHOUT_REFUSAL: Final = frozenset({RuleKind.REFUSED_CALLS})


class LoopsConfig(msgspec.Struct, frozen=True):
    """The built-in rules. Without the table, there are none."""

    mode: Annotated[RuleSwitch, f"The built-in rules. {_MODE_TEXT}"] = "off"
    warn: Annotated[
        int, _EQUAL_CALLS, "Equal calls with equal answers, or failed ones, until a warning."
    ] = 4
    refuse: Annotated[
        int, _EQUAL_CALLS, "Equal calls, or rounds of two or three calls, until a refusal."
    ] = 10
    end: Annotated[int, _EQUAL_CALLS, "The same, until the branch is ended."] = 20
    pause_seconds: Annotated[
        int,
        values.integer(1, limits.rule_pause_seconds_max),
        "After a longer pause between two equal calls, all rules count from the beginning.",
    ] = limits.rule_pause_seconds
    exempt_tools: Annotated[
        tuple[str, ...],
        values.listed(values.TOOL_PATTERN, limits.allowed_tools_max),
        "Tools that may be called again and again, such as one that tells the state of a job.",
    ] = ()
    volatile_members: Annotated[
        tuple[str, ...],
        values.listed(_MEMBER, limits.volatile_members_max),
        "Members of JSON bodies that do not make two calls different, such as a time or an id.",
    ] = ()

    def check(self, section: TOMLTableReader) -> None:
        """Note limits in the wrong order."""
        if not self.warn <= self.refuse <= self.end:
            section.problem("needs warn <= refuse <= end")


class RuleConfig(msgspec.Struct, frozen=True):
    """One rule; one with the name of a built-in rule replaces that."""

    name: str
    kind: Annotated[RuleKind, "What the rule counts, for each branch with all below it."]
    mode: Annotated[RuleSwitch, _MODE_TEXT] = "observe"
    warn: Annotated[int | None, _LIMIT, "The count at which calls get a warning.", _NONE] = None
    refuse: Annotated[int | None, _LIMIT, "The count at which calls are refused.", _NONE] = None
    end: Annotated[int | None, _LIMIT, "The count at which the branch is ended.", _NONE] = None
    crew: Annotated[Name | None, "Crew whose branches it watches.", Key(absent="each crew")] = None
    role: Annotated[
        str | None, values.CLAIM, "Role whose calls it watches.", Key(absent="each role")
    ] = None
    tools: Annotated[
        tuple[str, ...],
        values.listed(values.TOOL_PATTERN, limits.allowed_tools_max),
        "Tools whose calls it watches.",
        Key(absent="each tool"),
    ] = ()

    @property
    def limits(self) -> tuple[int | None, ...]:
        """The limits in the order of `STEPS`."""
        return self.warn, self.refuse, self.end

    def check(self, section: TOMLTableReader) -> None:
        """Note a rule without a limit, limits in the wrong order, and a wrong unit."""
        given = [limit for limit in self.limits if limit is not None]
        if not given:
            section.problem("needs a limit: give `warn`, `refuse` or `end`")
        if given != sorted(given):
            section.problem("needs warn <= refuse <= end")
        if self.refuse is not None and self.kind in _WITHOUT_REFUSAL:
            section.problem("has no effect, because such calls are refused already", "refuse")
        is_credits = self.kind is RuleKind.CREDITS_PER_MINUTE
        for step, limit in zip(STEPS, self.limits, strict=True):
            if limit is None:
                continue
            if isinstance(limit, _MicroCredits) != is_credits:
                unit = 'credits as a text such as "0.50"' if is_credits else "a whole number"
                section.problem(f"must be {unit} for this kind", step.value)
            elif self.kind.compares_calls and limit > limits.rule_equal_calls_max:
                most = limits.rule_equal_calls_max
                section.problem(f"must be at most {most} for this kind", step.value)
            elif self.kind.compares_calls and limit == 1:
                section.problem("must be at least 2 for this kind: each call counts 1", step.value)


LoopsTable = Annotated[
    LoopsConfig, "The built-in rules on branches, which find what runs in circles."
]
RuleTables = Annotated[
    tuple[RuleConfig, ...],
    "A rule on branches: from which count on calls get a warning, are refused, or end the branch.",
    TableMap(name="rule", max_count=limits.rules_max),
]


class RulesFile(msgspec.Struct, frozen=True):
    """A file that has only rules on branches, to try them on recorded calls."""

    loops: LoopsTable = LoopsConfig()
    rules: RuleTables = ()


# The declarations of all keys of such a file.
RULES_FILE: Final = TableSchema(RulesFile)


def loop_rules(loops: LoopsConfig, rules: Sequence[RuleConfig]) -> LoopRules:
    """Return the rules in force; those that are off are not among them."""
    found: dict[str, Rule] = {}
    if loops.mode != "off":
        bounds = {"warn": loops.warn, "refuse": loops.refuse, "end": loops.end}
        found = {rule.name: rule for rule in builtin_rules(RuleMode(loops.mode), **bounds)}
    for each in rules:
        found.pop(each.name, None)
        if each.mode != "off":
            found[each.name] = _rule(each)
    return LoopRules(
        tuple(found.values()), loops.pause_seconds, loops.exempt_tools, loops.volatile_members
    )


def rule_problems(found: LoopRules) -> Iterator[str]:
    """Yield a problem if there are too many rules."""
    if len(found.rules) > limits.rules_max:
        yield (
            f"rule: {len(found.rules)} rules with the built-in ones; at most {limits.rules_max} "
            "work"
        )


def _rule(config: RuleConfig) -> Rule:
    warn, refuse, end = (None if each is None else int(each) for each in config.limits)
    return Rule(
        name=config.name,
        kind=config.kind,
        mode=RuleMode(config.mode),
        warn=warn,
        refuse=refuse,
        end=end,
        crew=config.crew,
        role=config.role,
        tools=config.tools,
    )
