"""What a worker does with the steps that its gate notes."""

from collections.abc import Callable

from gateway_world import grant_of

from crewgate.core.audit.records import Record, RuleStepRecord
from crewgate.core.rules.builtin import builtin_rules
from crewgate.core.rules.rule import LoopRules, RuleMode, RuleStep, StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.gateway.call.rule_steps import RuleSteps
from crewgate.metrics.exposition import Exposition
from crewgate.metrics.memory import MetricsMemory

RULES = builtin_rules(RuleMode.ENFORCE, warn=4, refuse=10, end=20)
SAME_CALL = next(rule for rule in RULES if rule.name == "same-call")


def test_a_branch_ends_when_the_turn_does() -> None:
    """So the client learns of the rule, also if its call is judged again in the same turn."""
    ended: list[Grant] = []
    due: list[Callable[[], object]] = []
    own = MetricsMemory(2).own
    steps = RuleSteps(lambda _: None, lambda grant, _: ended.append(grant), own, due.append)
    steps.note(grant_of(), StepFinding(SAME_CALL, RuleStep.END, 20, 20), b"r" * 16, "a", True)
    assert not ended
    for work in due:
        work()
    assert ended


def test_each_new_step_is_recorded_and_counted_once() -> None:
    """A rule that ends a branch has it ended with each further call, until that is so."""
    memory = MetricsMemory(2)
    written: list[Record] = []
    ended: list[tuple[Grant, StepFinding]] = []
    steps = RuleSteps(
        written.append,
        lambda grant, found: ended.append((grant, found)),
        memory.own,
        lambda work: work(),
    )
    steps.begin(LoopRules(RULES))
    text = Exposition(memory.descriptor).read()[0].decode()
    none = 'crewgate_rule_steps_total{rule="same-call",step="%s",mode="enforce"} 0'
    assert none % "refuse" in text
    assert none % "end" in text
    assert none % "warn" not in text

    found = StepFinding(SAME_CALL, RuleStep.END, 20, 20)
    for is_new in (True, False):
        steps.note(grant_of(), found, b"r" * 16, "search.web", is_new)
    (record,) = written
    assert isinstance(record, RuleStepRecord)
    assert (record.rule, record.step, record.count) == ("same-call", "end", 20)
    assert len(ended) == 2
    text = Exposition(memory.descriptor).read()[0].decode()
    assert 'crewgate_rule_steps_total{rule="same-call",step="end",mode="enforce"} 1' in text
