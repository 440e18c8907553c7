"""Records and counts the steps of rules on branches, and has the agent end branches."""

import math
import time
from collections.abc import Callable
from functools import partial

from crewgate import limits
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
    An end is sent once a second at most: else a branch that goes on fills the queue to a slow
    agent, in which the draws of all other branches wait. `now` is in seconds.

    `at_end` does work at the end of the turn. The gate can judge a call twice in one turn. If the
    agent had ended the branch by then, the client would not learn which rule it was.
    """

    def __init__(
        self,
        write: Callable[[Record], object],
        end: Callable[[Grant, StepFinding], object],
        metrics: ProcessMetrics,
        at_end: Callable[[Callable[[], object]], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._now = now
        self._sent_at: dict[bytes, float] = {}  # by the key of the branch
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
        is_end = finding.step is RuleStep.END and finding.is_enforced
        if is_end and self._is_due(grant, finding.level):
            self._at_end(partial(self._end, grant, finding))

    def _is_due(self, grant: Grant, level: int) -> bool:
        keys = (*grant.path_keys, grant.branch_key)
        branch, now = keys[max(0, len(keys) - 1 - level)], self._now()
        if now - self._sent_at.get(branch, -math.inf) < limits.rule_end_again_seconds:
            return False
        if len(self._sent_at) >= limits.rule_ends_max:
            self._sent_at.clear()
        self._sent_at[branch] = now
        return True
