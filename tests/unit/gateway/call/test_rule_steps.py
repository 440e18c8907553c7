"""What a worker does with the steps that its gate notes."""

from collections.abc import Callable

import pytest
from gateway_world import grant_of
from msgspec import structs

from crewgate import limits
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
    """A rule that ends a branch has it ended with further calls, until that is so."""
    memory, now = MetricsMemory(2), iter([0.0, limits.rule_end_again_seconds])
    written: list[Record] = []
    ended: list[tuple[Grant, StepFinding]] = []
    steps = RuleSteps(
        written.append,
        lambda grant, found: ended.append((grant, found)),
        memory.own,
        lambda work: work(),
        lambda: next(now),
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


def test_a_branch_that_goes_on_does_not_fill_the_queue_to_the_agent() -> None:
    """Its end, or that of a branch above it, is sent once a second; another branch has its own."""
    ended: list[tuple[bytes, int]] = []
    times = [0.0]
    steps = RuleSteps(
        lambda _: None,
        lambda grant, found: ended.append((grant.branch_key, found.level)),
        MetricsMemory(2).own,
        lambda work: work(),
        lambda: times[-1],
    )
    run, one, other = b"r" * 16, b"1" * 16, b"2" * 16
    above = structs.replace(grant_of(), path_keys=(run,))
    children = [structs.replace(above, branch_key=key) for key in (one, other)]
    for now in (0.0, 0.5, limits.rule_end_again_seconds):
        times.append(now)
        for _ in range(100):
            for grant in children:
                for level in (0, 1):
                    found = StepFinding(SAME_CALL, RuleStep.END, 20, 20, level)
                    steps.note(grant, found, b"r" * 16, "search.web", False)
    assert ended == [(one, 0), (one, 1), (other, 0)] * 2


def test_the_ends_that_were_sent_take_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "rule_ends_max", 3)
    steps = RuleSteps(lambda _: None, lambda *_: None, MetricsMemory(2).own, lambda work: work())
    for number in range(10):
        grant = structs.replace(grant_of(), branch_key=bytes([number]) * 16)
        found = StepFinding(SAME_CALL, RuleStep.END, 20, 20)
        steps.note(grant, found, b"r" * 16, "search.web", False)
    assert len(steps._sent_at) <= 3
