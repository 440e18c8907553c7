"""Finds rules on branches that watch nothing, and gateways without a rule."""

from collections.abc import Iterator

from crewgate.config import Config
from crewgate.config.judged_tools import covers, judged_tools
from crewgate.config.rules import loop_rules


def rule_warnings(config: Config) -> Iterator[str]:
    """Yield a warning for each pattern without a tool, and each built-in rule that is replaced."""
    tools = judged_tools(config)
    builtin = {rule.name for rule in loop_rules(config.loops, ()).rules}
    for rule in config.rules:
        if rule.name in builtin and rule.kind.value != rule.name:
            yield (
                f"rule.{rule.name}: it replaces the built-in rule {rule.name}, but counts "
                f"{rule.kind.value}; give it another name to keep the built-in rule"
            )
    named = [(f"rule.{rule.name}: tools", rule.tools) for rule in config.rules]
    for where, patterns in [*named, ("loops: exempt_tools", config.loops.exempt_tools)]:
        for pattern in patterns:
            if not any(covers(pattern, tool) for tool in tools):
                yield f"{where}: {pattern} covers no tool of this file; correct the name"


def missing_rules(config: Config) -> Iterator[str]:
    """Yield a recommendation if no rule finds a branch that runs in circles."""
    if not loop_rules(config.loops, config.rules).rules:
        yield (
            "loops: no rule finds a branch that repeats a call again and again; write "
            'mode = "observe" into a section [loops]'
        )
