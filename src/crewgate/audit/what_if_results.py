"""What a replay of rules on branches has found; `crewgate audit what-if` prints it."""

from datetime import datetime

import msgspec

from crewgate.audit.replayed_records import ReplayedRecord
from crewgate.core.audit.digest_texts import EXEMPT_CALL
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import RuleKind, RuleMode, RuleStep, StepFinding


class ReplayedStep(msgspec.Struct, kw_only=True):
    """A step that a rule would have taken, and what it would have saved.

    `time`, `tool` and `request` are those of the call that did it, and `caller` is its branch if
    that is not `branch`; then `role` is empty. The saved calls are those of the branch and of all
    below it that the step would have refused; `saved_micro` is what they had cost. For credits a
    minute, `count` and `limit` are in micro-credits.
    """

    time: datetime
    machine: str
    crew: str
    role: str
    branch: str
    caller: str
    rule: str
    rule_kind: RuleKind
    step: RuleStep
    mode: RuleMode
    count: int
    limit: int
    tool: str
    request: str
    saved_calls: int = 0
    saved_micro: int = 0

    @classmethod
    def of(cls, record: ReplayedRecord, branch: str, finding: StepFinding) -> "ReplayedStep":
        """Return the step that a rule takes for a recorded call."""
        is_own = branch == record.branch
        return cls(
            time=record.time,
            machine=record.machine,
            crew=record.crew,
            role=record.role if is_own else "",
            branch=branch,
            caller="" if is_own else record.branch,
            rule=finding.rule.name,
            rule_kind=finding.rule.kind,
            step=finding.step,
            mode=finding.rule.mode,
            count=finding.count,
            limit=finding.limit,
            tool=record.tool,
            request=record.request,
        )

    @property
    def is_enforced(self) -> bool:
        """Whether the rule acts; else it says only what it would do."""
        return self.mode is RuleMode.ENFORCE or self.step is RuleStep.WARN


class WhatIf(msgspec.Struct):
    """The steps, oldest first, and sums over all calls.

    - `calls`, `cost_micro`: permitted calls, and what they cost; `first` and `last` are when they
      arrived
    - `undigested_calls`: of these, those without a digest, and `exempt_calls` those that may be
      repeated: rules compare neither
    - `refused_calls`: calls that rules had refused when they were recorded
    - `unlisted_steps` are not in `steps`, because there are too many
    - `forgotten_branches`: branches whose counts began anew, because too many were live
    """

    steps: list[ReplayedStep] = msgspec.field(default_factory=list)
    calls: int = 0
    cost_micro: int = 0
    first: datetime | None = None
    last: datetime | None = None
    undigested_calls: int = 0
    exempt_calls: int = 0
    refused_calls: int = 0
    saved_calls: int = 0
    saved_micro: int = 0
    unlisted_steps: int = 0
    forgotten_branches: int = 0

    def note_call(self, record: ReplayedRecord) -> None:
        """Count a call."""
        self.first = record.time if self.first is None else min(self.first, record.time)
        self.last = record.time if self.last is None else max(self.last, record.time)
        if record.verdict != "permit":
            self.refused_calls += record.reason == Reason.LOOP_DETECTED.value
            return
        self.calls += 1
        self.cost_micro += record.cost_micro
        self.undigested_calls += not record.call_digest
        self.exempt_calls += record.call_digest == EXEMPT_CALL

    def note_step(self, step: ReplayedStep, steps_max: int) -> None:
        """List a step, or count it if there are too many."""
        if len(self.steps) < steps_max:
            self.steps.append(step)
        else:
            self.unlisted_steps += 1
