"""Records and counts the steps of rules on branches, and has the agent end branches."""

import time
from collections.abc import Callable
from functools import partial

from crewgate.core.audit.record_builder import rule_step
from crewgate.core.audit.records import Record
from crewgate.core.rules.rule import STEPS, LoopRules, RuleStep, StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics


class RuleSteps:
    """Takes what a gate notes (`note_step` of `Gate`).

    `write` writes a record of the audit. `end` sends the end of a branch to the agent. If the agent
    is unavailable, the end is lost; the gate notes it again with the next call that it refuses.

    `at_end` does work at the end of the turn. The gate can judge a call twice in one turn. If the
    agent had ended the branch by then, the client would not learn which rule it was.
    """

    def __init__(
        self,
        write: Callable[[Record], object],
        end: Callable[[Grant, StepFinding], object],
        metrics: ProcessMetrics,
        at_end: Callable[[Callable[[], object]], object],
    ) -> None:
        self._write = write
        self._at_end = at_end
        self._end = end
        self._metrics = metrics

    def begin(self, loops: LoopRules) -> None:
        """Show the count 0 for each step: from a series that begins at 1, an alert sees nothing."""
        for rule in loops.rules:
            for step, limit in zip(STEPS, rule.limits, strict=True):
                if limit is not None:
                    self._metrics.series(families.RULE_STEPS, rule.name, step, rule.mode)

    def note(
        self,
        grant: Grant,
        finding: StepFinding,
        request: bytes,
        tool: str,
        is_new: bool,  # noqa: FBT001 - the gate passes no names
    ) -> None:
        """Record a step that is new; end the branch if that is the step."""
        if is_new:
            self._write(rule_step(grant, finding, request, time.time_ns(), tool))
            rule = finding.rule
            self._metrics.series(families.RULE_STEPS, rule.name, finding.step, rule.mode).add()
        if finding.step is RuleStep.END and finding.is_enforced:
            self._at_end(partial(self._end, grant, finding))
