"""Replays rules on branches on recorded calls: which steps they take, and what that saves.

It counts as the gate does (`core/rules/activity`). What a record does not say is left out:

- Wall-clock time stands for the clock of the machine, so a minute may begin at another second.
- A call is judged when it arrived, and not after it has waited for credit or for its body.
- A call of a free tool that ended without an answer is taken for one that no server saw.
- Branches below count as live from their first call or grant here until their tokens expire.

If a rule refuses a call here that was permitted, the branch might have done something else then.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from msgspec.structs import replace

from crewgate import limits
from crewgate.audit.replayed_records import CallTime, ReplayedCall, ReplayedRecord
from crewgate.audit.what_if_results import ReplayedStep, WhatIf
from crewgate.core.audit.digest_texts import EXEMPT_CALL
from crewgate.core.audit.records import CallOutcome, microseconds
from crewgate.core.policy.scope import matches
from crewgate.core.reasons import REFUSED_FOR_TOOL, Reason
from crewgate.core.rules.activity import (
    BUSY_STATUSES,
    EXEMPT,
    FAILED_STATUS,
    UNKNOWN,
    AnsweredCall,
    BranchActivity,
    note_answer,
    strongest,
)
from crewgate.core.rules.recorded_steps import judge_call, judge_refusal
from crewgate.core.rules.rule import LoopRules, Rule, RuleMode, RuleStep, StepFinding

BranchId = tuple[str, str, str]  # machine, crew, branch: each machine counts by itself
_REFUSED_FOR_TOOL = frozenset(reason.value for reason in REFUSED_FOR_TOOL)
_LOOP = Reason.LOOP_DETECTED.value
_UPSTREAM_ERROR = CallOutcome.UPSTREAM_ERROR.value
# The gate judges by rules before it looks at credits and limits.
_JUDGED = frozenset(
    {
        Reason.CREDITS_EXHAUSTED.value,
        "allowance-exhausted",
        Reason.RATE_LIMITED.value,
        Reason.TOO_MANY_CALLS.value,
    }
)
# In observe mode, the gate lets these calls pass before it judges them by rules.
_UNJUDGED = frozenset(
    {Reason.TOOL_NOT_ALLOWED.value, Reason.TOKEN_UNBOUND.value, Reason.BUDGET_UNAVAILABLE.value}
)


class _Branch:
    """A live branch: `path` has its own id and those above it, the nearest first."""

    __slots__ = ("activity", "end", "expires_us", "path")

    def __init__(self, path: Sequence[BranchId], pause_seconds: int) -> None:
        self.path = path
        self.activity = BranchActivity(pause_seconds)
        self.expires_us = 0  # unknown
        self.end: ReplayedStep | None = None


class RuleReplay:
    """The branches as they were at the time of the last call, and the steps so far."""

    def __init__(
        self,
        loops: LoopRules,
        *,
        branches_max: int = limits.what_if_branches_max,
        steps_max: int = limits.what_if_steps_max,
    ) -> None:
        self._loops = loops
        self._branches_max = branches_max
        self._steps_max = steps_max
        self._branches: dict[BranchId, _Branch] = {}  # the longest unused first
        self._uncounted: dict[BranchId, int] = {}
        self._expiries: list[tuple[int, BranchId]] = []
        self._steps: dict[tuple[BranchId, str, RuleStep], ReplayedStep] = {}
        self._rules: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._now_us = 0
        self.found = WhatIf()

    def run(self, times: Iterable[CallTime]) -> WhatIf:
        """Replay all calls, and return what was found."""
        for each in times:
            self._now_us = max(self._now_us, each.us)
            self._expire()
            if not each.is_beginning:
                self._end(each.call)
            elif each.call.record.kind == "grant":
                self._open(each.call.record)
            else:
                self.found.note_call(each.call.record)
                self._begin(each.call)
        return self.found

    @property
    def _ms(self) -> int:
        return self._now_us // 1000

    # A call begins.

    def _begin(self, call: ReplayedCall) -> None:
        record = call.record
        rules = self._watching(record.crew, record.role)
        if record.verdict == "deny":
            self._refused(record, rules)
            return
        branch = self._open(record)
        end = self._end_of(branch)
        if end is not None:
            self._save(record, end)
            return
        call.is_counted = bool(rules)
        if not rules or record.would in _UNJUDGED:
            return
        taken = self._judge(record, branch, rules, _digest(record, self._loops))
        if taken is None:
            return
        call.is_counted = False
        self._save(record, self._step_of(record, branch, taken))
        for level in self._levels(branch)[: taken.level + 1]:
            level.note_rule_refusal(_digest(record, self._loops), self._ms)

    def _judge(
        self, record: ReplayedRecord, branch: _Branch, rules: Sequence[Rule], call: int
    ) -> StepFinding | None:
        """Judge a call; return the step by which a rule refuses it."""
        levels = self._levels(branch)
        for level in levels:
            level.begin(self._ms)
        found, new = judge_call(
            rules, levels, call, self._ms, lambda rule: _covers(rule.tools, record.tool)
        )
        for each in new:
            self._record(record, branch, each)
        for each in found:
            if each.step is RuleStep.END and each.is_enforced:
                self._note_end(record, branch, each)
        taken = strongest(found)
        if taken is None or not taken.is_enforced or taken.step is RuleStep.WARN:
            return None
        return taken

    def _refused(self, record: ReplayedRecord, rules: Sequence[Rule]) -> None:
        """Count a call that was refused when it was recorded."""
        branch = self._branches.get((record.machine, record.crew, record.branch))
        if branch is None or not rules:
            self._note_uncounted(record, is_watched=bool(rules))
            return
        self._touch(branch.path)
        if self._end_of(branch) is not None:
            return
        if record.reason in _REFUSED_FOR_TOOL:
            found, new = judge_refusal(rules, self._levels(branch), self._ms)
            for each in new:
                self._record(record, branch, each)
            for each in found:
                if each.step is RuleStep.END and each.is_enforced:
                    self._note_end(record, branch, each)
        elif record.reason == _LOOP:
            call = _digest(record, self._loops)
            taken = self._judge(record, branch, rules, call)
            levels = self._levels(branch)
            for level in levels if taken is None else levels[: taken.level + 1]:
                level.note_rule_refusal(call, self._ms)
        elif record.reason in _JUDGED:
            self._judge(record, branch, rules, UNKNOWN)

    def _note_uncounted(self, record: ReplayedRecord, *, is_watched: bool) -> None:
        """Open a branch after a few refused calls, as a worker does; until then, none counts."""
        if not is_watched or not record.branch or record.reason not in _REFUSED_FOR_TOOL:
            return
        branch = record.machine, record.crew, record.branch
        if len(self._uncounted) >= self._branches_max:
            self._uncounted.clear()
        self._uncounted[branch] = self._uncounted.get(branch, 0) + 1
        if self._uncounted[branch] >= limits.rule_uncounted_max:
            del self._uncounted[branch]
            self._open(record)

    # A call ends.

    def _end(self, call: ReplayedCall) -> None:
        record = call.record
        branch = self._branches.get((record.machine, record.crew, record.branch))
        if not call.is_counted or branch is None or not _was_answered(record):
            return
        self._touch(branch.path)
        ended_ms = self._ms
        answered = AnsweredCall(
            _digest(record, self._loops),
            int(record.answer_digest, 16) if record.answer_digest else 0,
            min(microseconds(record.time) // 1000, ended_ms),
            ended_ms,
            record.cost_micro,
            record.retry_seconds,
            is_failed=record.failed
            or record.outcome == _UPSTREAM_ERROR
            or record.status >= FAILED_STATUS,
            # The client was told that the tool did not answer.
            is_busy=record.outcome == _UPSTREAM_ERROR or record.status in BUSY_STATUSES,
        )
        note_answer(self._levels(branch), answered)

    # Steps and what they save.

    def _record(self, record: ReplayedRecord, branch: _Branch, finding: StepFinding) -> None:
        """Note a step that the gate would record."""
        at = branch.path[finding.level]
        step = ReplayedStep.of(record, at[2], finding)
        self.found.note_step(step, self._steps_max)
        self._steps[at, finding.rule.name, finding.step] = step

    def _step_of(
        self, record: ReplayedRecord, branch: _Branch, finding: StepFinding
    ) -> ReplayedStep:
        """Return the step to which a call that a finding refuses is put down."""
        key = (branch.path[finding.level], finding.rule.name, finding.step)
        if key not in self._steps:  # its branch was forgotten meanwhile
            self._record(record, branch, finding)
        return self._steps[key]

    def _note_end(self, record: ReplayedRecord, branch: _Branch, finding: StepFinding) -> None:
        ended = self._branches[branch.path[finding.level]]
        if ended.end is None:
            ended.end = self._step_of(record, branch, finding)

    def _end_of(self, branch: _Branch) -> ReplayedStep | None:
        """Return the step that has ended a branch or the nearest one above it."""
        for each in branch.path:
            end = self._branches[each].end
            if end is not None:
                return end
        return None

    def _save(self, record: ReplayedRecord, step: ReplayedStep) -> None:
        step.saved_calls += 1
        step.saved_micro += record.cost_micro
        self.found.saved_calls += 1
        self.found.saved_micro += record.cost_micro

    # Branches.

    def _watching(self, crew: str, role: str) -> tuple[Rule, ...]:
        found = self._rules.get((crew, role))
        if found is None:
            if len(self._rules) >= self._branches_max:
                self._rules.clear()
            found = tuple(rule for rule in self._loops.rules if rule.watches(crew, role))
            self._rules[crew, role] = found
        return found

    def _levels(self, branch: _Branch) -> list[BranchActivity]:
        return [self._branches[each].activity for each in branch.path]

    def _open(self, record: ReplayedRecord) -> _Branch:
        """Return a branch, which is live from now on, as are those above it."""
        ids = [*record.ancestry, record.branch]
        path = tuple((record.machine, record.crew, each) for each in reversed(ids))
        branch = self._touch(path)
        if record.kind == "grant":
            self._live_until(path, microseconds(record.expires))
        return branch

    def _touch(self, path: Sequence[BranchId]) -> _Branch:
        """Put a branch and those above it last, and forget the first if there are too many."""
        for level in range(len(path) - 1, -1, -1):
            known = self._branches.pop(path[level], None)  # to put it last
            if known is None:
                known = _Branch(path[level:], self._loops.pause_seconds)
                self._count_below(known, 1)
            self._branches[path[level]] = known
        while len(self._branches) > max(self._branches_max, len(path)):
            self._forget(next(iter(self._branches)))
            self.found.forgotten_branches += 1
        return self._branches[path[0]]

    def _live_until(self, path: Sequence[BranchId], expires_us: int) -> None:
        for each in path:
            known = self._branches[each]
            if expires_us > known.expires_us:
                known.expires_us = expires_us
                heappush(self._expiries, (expires_us, each))

    def _expire(self) -> None:
        """Forget the branches whose last token has expired, unless one below them is live."""
        while self._expiries and self._expiries[0][0] <= self._now_us:
            known = self._branches.get(heappop(self._expiries)[1])
            if known is not None:
                self._forget_expired(known)

    def _forget_expired(self, branch: _Branch) -> None:
        is_over = 0 < branch.expires_us <= self._now_us
        if is_over and branch.activity.live_branches == 0:
            self._forget(branch.path[0])
            above = [self._branches.get(each) for each in branch.path[1:2]]
            for each in above:
                if each is not None:
                    self._forget_expired(each)

    def _forget(self, identifier: BranchId) -> None:
        branch = self._branches.pop(identifier)
        self._count_below(branch, -1)
        for rule in self._loops.rules:
            for step in RuleStep:
                self._steps.pop((identifier, rule.name, step), None)

    def _count_below(self, branch: _Branch, more: int) -> None:
        for each in branch.path[1:]:
            above = self._branches.get(each)
            if above is not None:
                above.activity.live_branches = max(0, above.activity.live_branches + more)


def enforced(loops: LoopRules) -> LoopRules:
    """Return the rules as they are in `enforce` mode."""
    rules = tuple(replace(rule, mode=RuleMode.ENFORCE) for rule in loops.rules)
    return replace(loops, rules=rules)


def _covers(patterns: Sequence[str], tool: str) -> bool:
    return not patterns or any(matches(pattern, tool) for pattern in patterns)


def _digest(record: ReplayedRecord, loops: LoopRules) -> int:
    """Return the digest of a call; `EXEMPT` also if the rules exempt its tool now."""
    if record.call_digest == EXEMPT_CALL or (
        loops.exempt_tools and _covers(loops.exempt_tools, record.tool)
    ):
        return EXEMPT
    return int(record.call_digest, 16) if record.call_digest else UNKNOWN


def _was_answered(record: ReplayedRecord) -> bool:
    """Return whether a server may have seen a call."""
    return record.outcome == "done" or record.status > 0 or record.cost_micro > 0
