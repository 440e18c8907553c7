"""What a person reads of why a rule has ended a branch."""

import pytest

from crewgate.core.rules.finding_text import end_reason, explanation
from crewgate.core.rules.rule import Rule, RuleKind, RuleMode, RuleStep, StepFinding


@pytest.mark.parametrize(
    ("kind", "count", "limit", "says"),
    [
        ("same-call", 20, 20, "20 equal calls in a row, and ends a branch at 20"),
        ("wall-time", 5, 5, "5 seconds since the first call, and ends a branch at 5"),
        ("credits-per-minute", 250_000, 200_000,
         "0.25 credits in this minute, and ends a branch at 0.20"),
        ("", 20, 20, "20, and ends a branch at 20"),
        ("of-a-later-version", 20, 20, "20, and ends a branch at 20"),
    ],
)  # fmt: skip
def test_the_reason_has_the_unit(kind: str, count: int, limit: int, says: str) -> None:
    """Credits are no micro-credits; a kind that is unknown here has none."""
    assert end_reason("r", kind, count, limit) == f"rule r has counted {says}"


def test_who_is_ended_gets_no_advice_to_go_on() -> None:
    """But one that a rule only refuses does, also if the rule would end it."""
    rule = Rule("r", RuleKind.SAME_CALL, RuleMode.ENFORCE, None, 10, 20)
    ended = StepFinding(rule, RuleStep.END, 20, 20)
    assert explanation(ended) == (
        "Rule r has counted 20 equal calls in a row. The gateway ends the branch. It answers no "
        "further call: report what you have, and that the task was ended."
    )
    observing = Rule("r", RuleKind.SAME_CALL, RuleMode.OBSERVE, None, 10, 20)
    for finding in (
        StepFinding(rule, RuleStep.REFUSE, 10, 10),
        StepFinding(observing, RuleStep.END, 20, 20),
    ):
        assert "do something else" in explanation(finding)
