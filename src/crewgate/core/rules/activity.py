"""How the calls of a branch are counted, for the rules: a slow model of the counts in the table.

A call counts at its branch and at each branch above it. Times are milliseconds of one clock that
does not jump.
"""

from collections.abc import Sequence

import msgspec

from crewgate import limits
from crewgate.core.rules.rule import (
    COMPARING_KINDS,
    STEPS,
    Rule,
    RuleKind,
    RuleMode,
    RuleStep,
    StepFinding,
)

UNKNOWN, EXEMPT = 0, 1  # digests that stand for a call that nobody compares
# RFC 9110, RFC 8470 and RFC 6585: the same request may succeed later.
BUSY_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
FAILED_STATUS = 400  # the lowest status of a call that failed
_COUNT_MAX = 2**14 - 1
_MINUTE_MS = 60_000
_NOTHING = dict.fromkeys(RuleKind, 0)


class AnsweredCall(msgspec.Struct, frozen=True):
    """A call that was answered.

    Attributes:
        call: The digest of the call; `UNKNOWN` if it has none, `EXEMPT` if it may be repeated.
        answer: The digest of the answer; 0 if it has none.
        started_ms, ended_ms: When the call was permitted, and when it ended.
        cost: Micro-credits.
        retry_seconds: After how long the answer asks to call again; 0 if it does not.
        is_failed: Whether the answer is an error.
        is_busy: Whether the answer says that the call may be repeated.
    """

    call: int
    answer: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    cost: int = 0
    retry_seconds: int = 0
    is_failed: bool = False
    is_busy: bool = False


class _Series(msgspec.Struct):
    """The counts of equal calls of a branch."""

    progress: int = -1
    calls: int = 0
    answers: int = 0
    failures: int = 0
    answer: int = 0
    ended_ms: int = 0
    retry_seconds: int = 0

    def goes_on(self, progress: int, ms: int, pause_ms: int) -> bool:
        return self.progress == progress and ms <= self.ended_ms + pause_ms

    def has_waited(self, ms: int) -> bool:
        return self.retry_seconds > 0 and ms >= self.ended_ms + 1000 * self.retry_seconds


class BranchActivity:
    """What a branch and all below it have done lately. `live_branches` are set from outside."""

    __slots__ = (
        "_began_ms", "_calls", "_minute", "_noted", "_pause_ms", "_progress", "_refused", "_series",
        "_spent", "live_branches",
    )  # fmt: skip

    def __init__(self, pause_seconds: int = limits.rule_pause_seconds) -> None:
        self._pause_ms = 1000 * pause_seconds
        self._progress = 0
        self._series: dict[int, _Series] = {}
        self._refused = (0, 0)  # calls in a row, and when the last was
        self._minute = self._calls = self._spent = 0
        self._began_ms: int | None = None
        self._noted: set[tuple[RuleKind, str, RuleStep]] = set()
        self.live_branches = 0

    def begin(self, ms: int) -> None:
        """Note the first call."""
        self._began_ms = ms if self._began_ms is None else self._began_ms

    def note_answer(self, found: AnsweredCall, *, is_repeat: bool = True) -> bool:
        """Count a call that was answered; return whether it was made before, lately.

        `is_repeat`: the branch that calls had made it before. Many branches that make a call once
        each do not repeat it, so above them such calls do not count.
        """
        self._enter_minute(found.ended_ms)
        self._calls += 1
        self._spent += found.cost
        if self._refused[0]:
            self._refused = (0, 0)
            self._forget(frozenset({RuleKind.REFUSED_CALLS}))
        if found.call == UNKNOWN:
            self._progress += 1
        elif found.call != EXEMPT:
            return self._count(found, is_repeat=is_repeat)
        return False

    def _count(self, found: AnsweredCall, *, is_repeat: bool) -> bool:
        series = self._series.get(found.call)
        if series is None:
            series = self._begin_series(found.call)
        goes_on = series.goes_on(self._progress, found.started_ms, self._pause_ms)
        if goes_on and (not is_repeat or found.started_ms < series.ended_ms):
            return True  # or it ran while the last one did
        if not goes_on:
            series.calls = series.answers = series.failures = 0
        if not found.is_busy and not (goes_on and series.has_waited(found.started_ms)):
            is_equal = bool(found.answer and series.answers and found.answer == series.answer)
            series.calls = min(series.calls + 1, _COUNT_MAX)
            series.answers = min(series.answers + 1, _COUNT_MAX) if is_equal else 1
        series.failures = min(series.failures + 1, _COUNT_MAX) if found.is_failed else 0
        series.progress = self._progress
        series.answer, series.ended_ms = found.answer, found.ended_ms
        series.retry_seconds = found.retry_seconds
        return goes_on

    def _begin_series(self, call: int) -> _Series:
        if len(self._series) >= limits.rule_series_max:
            del self._series[min(self._series, key=lambda each: self._series[each].ended_ms)]
        self._progress += 1
        self._forget(COMPARING_KINDS)
        self._series[call] = _Series()
        return self._series[call]

    def note_rule_refusal(self, call: int, ms: int) -> None:
        """Count a call that a rule refused: it is equal to those before, but no progress.

        It counts at the branch whose count reached the limit and at those below, not above. Its
        answer counts as equal, and as a failure, if that was so before: one of many different
        answers is not.
        """
        series = self._series.get(call)
        if series is None:
            return
        is_first = series.calls == 1
        for name in ("calls", "answers", "failures"):
            count = getattr(series, name)
            count += count > 1 or (count == 1 and is_first)
            setattr(series, name, min(count, _COUNT_MAX))
        series.ended_ms, series.retry_seconds = ms, 0

    def note_refusal(self, ms: int) -> int:
        """Count a call that was refused for its tool; return how many that is in a row.

        A branch above counts it only if no rule takes a step for it below.
        """
        count, last = self._refused
        count = count + 1 if ms <= last + self._pause_ms else 1
        self._refused = count, ms
        return count

    def note(self, rule: Rule, step: RuleStep) -> bool:
        """Note a step that a rule takes; return whether it must be recorded now."""
        key = (rule.kind, rule.name, step)
        is_new = key not in self._noted
        self._noted.add(key)
        return is_new

    def forget_above(self, rule: Rule, step: RuleStep | None) -> None:
        """Have the steps of a rule that are stronger than a step recorded again."""
        for other in STEPS if step is None else STEPS[STEPS.index(step) + 1 :]:
            self._noted.discard((rule.kind, rule.name, other))

    def _forget(self, kinds: frozenset[RuleKind]) -> None:
        if self._noted:
            self._noted = {each for each in self._noted if each[0] not in kinds}

    def counts(self, call: int, ms: int) -> dict[RuleKind, int]:
        """Return what the rules compare with their limits, if the call were made now."""
        self._enter_minute(ms)
        counts = _NOTHING.copy()
        counts[RuleKind.CALLS_PER_MINUTE] = self._calls + 1
        counts[RuleKind.CREDITS_PER_MINUTE] = self._spent
        counts[RuleKind.WALL_TIME] = 0 if self._began_ms is None else (ms - self._began_ms) // 1000
        counts[RuleKind.LIVE_BRANCHES] = self.live_branches
        series = self._series.get(call)
        if series is None or not series.goes_on(self._progress, ms, self._pause_ms):
            return counts
        if series.has_waited(ms):
            return counts
        kind, calls = self._turns(call, series.calls + 1)
        counts[kind] = calls
        counts[RuleKind.SAME_ANSWER] = series.answers + 1
        counts[RuleKind.SAME_FAILURE] = series.failures + 1
        return counts

    def _turns(self, call: int, calls: int) -> tuple[RuleKind, int]:
        """Return which kind `calls` equal calls count for, and how many of them.

        More than `limits.rule_turns_max` calls in turn do not count. But calls that the branch
        makes twice as often as it takes such turns count from there on: else a few calls that it
        has repeated would hide a loop.
        """
        others = [
            each.calls
            for key, each in self._series.items()
            if key != call and each.progress == self._progress
        ]
        others.sort(reverse=True)
        if len(others) < limits.rule_turns_max:
            return RuleKind.ALTERNATION if others else RuleKind.SAME_CALL, calls
        kind = RuleKind.SAME_CALL if 2 * others[0] < calls else RuleKind.ALTERNATION
        return kind, max(0, calls - 2 * others[limits.rule_turns_max - 1])

    def _enter_minute(self, ms: int) -> None:
        if ms // _MINUTE_MS != self._minute:
            self._minute, self._calls, self._spent = ms // _MINUTE_MS, 0, 0


def note_answer(levels: Sequence[BranchActivity], found: AnsweredCall) -> None:
    """Count a call that was answered at its branch, and at those above it."""
    is_repeat = levels[0].note_answer(found)
    for above in levels[1:]:
        above.note_answer(found, is_repeat=is_repeat)


def judge(
    rules: Sequence[Rule], levels: Sequence[BranchActivity], call: int, ms: int
) -> list[StepFinding]:
    """Return the steps that rules take for a call. `levels` are its branch and those above.

    `rules` are those that watch the call. Only calls that are refused anyway count for
    `REFUSED_CALLS`, so that kind is not judged here. A rule takes a step for a branch above only if
    it takes a weaker one, or none, for those below. A rule on equal calls ends only the branch that
    makes them. For one above, it refuses them, if the branch itself has made the call before.
    """
    found: list[StepFinding] = []
    taken: dict[str, int] = {}  # the strongest step of each rule at a lower level
    is_repeat = False
    for level, activity in enumerate(levels):
        counts = activity.counts(call, ms)
        is_repeat = is_repeat if level else counts[RuleKind.SAME_FAILURE] > 0
        for rule in rules:
            count, most = counts[rule.kind], RuleStep.END
            if level and rule.kind.compares_calls:
                if not is_repeat:
                    continue
                most = RuleStep.REFUSE
            step = rule.step_at(count, most)
            limit = None if step is None else rule.limits[STEPS.index(step)]
            if step is None or limit is None or STEPS.index(step) <= taken.get(rule.name, -1):
                continue
            taken[rule.name] = STEPS.index(step)
            found.append(StepFinding(rule, step, count, limit, level))
    return found


def strongest(found: Sequence[StepFinding]) -> StepFinding | None:
    """Return the step that a gate takes: an enforced refusal is stronger than an observed end."""
    return max(found, key=_rank, default=None)


def _rank(found: StepFinding) -> int:
    step = STEPS.index(found.step)
    return step + 2 * (step > 0 and found.rule.mode is RuleMode.ENFORCE)
