"""A gate with rules on branches, and the slow model of its branches."""

from collections.abc import Sequence

import msgspec
from crew_world import World
from gate_world import Gatehouse

from crewgate._native.permit import Permit
from crewgate.core.rules.activity import AnsweredCall, BranchActivity, judge, note_answer, strongest
from crewgate.core.rules.rule import LoopRules, Rule, RuleKind, RuleMode, StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial

SIBLING = "0199c1d2-0000-7000-8000-000000000004"
SEARCH, EMBED = 0, 1
PAUSE = 60
FAST = (
    Rule("calls", RuleKind.SAME_CALL, RuleMode.ENFORCE, 2, 4, 7),
    Rule("answers", RuleKind.SAME_ANSWER, RuleMode.OBSERVE, 2, 3, 5),
    Rule("failures", RuleKind.SAME_FAILURE, RuleMode.ENFORCE, 2, 3, None),
    Rule("turns", RuleKind.ALTERNATION, RuleMode.ENFORCE, 2, 4, 6),
    Rule("rate", RuleKind.CALLS_PER_MINUTE, RuleMode.ENFORCE, 5, 15, None),
    Rule("spend", RuleKind.CREDITS_PER_MINUTE, RuleMode.OBSERVE, 20, 60, 100),
    Rule("time", RuleKind.WALL_TIME, RuleMode.OBSERVE, 100, 300, None),
    Rule("live", RuleKind.LIVE_BRANCHES, RuleMode.OBSERVE, 3, None, None),
    Rule("refused", RuleKind.REFUSED_CALLS, RuleMode.ENFORCE, 2, None, 4),
)


class Site:
    """A gate with rules, and the model of its two branches below one parent."""

    def __init__(self, rules: Sequence[Rule], pause_seconds: int = PAUSE) -> None:
        self.world = World.make()
        loops = LoopRules(tuple(rules), pause_seconds)
        self.world.policy = msgspec.structs.replace(self.world.policy, loops=loops)
        self.house = Gatehouse(self.world)
        self.noted: list[tuple[StepFinding, bool]] = []
        self.house.gate = type(self.house.gate)(
            self.house.table, self.house.attachment, note_step=self._note
        )
        self.house.gate.load(self.world.policy)
        self.house.at(0)
        self.rules = loops.rules
        self.tokens = [self.world.token, self.world.mint(execution_branch_id=SIBLING)]
        self.pause_seconds = pause_seconds
        shared = [BranchActivity(pause_seconds) for _ in range(2)]
        self.levels = [[BranchActivity(pause_seconds), *shared] for _ in range(2)]
        for token in self.tokens:  # both branches are open
            self.house.permit(token).release()
        for levels in self.levels:
            for level, live in zip(levels, (0, 2, 3), strict=True):
                level.live_branches = live
                level.begin(self.ms)

    def _note(
        self, grant: Grant, finding: StepFinding, request: bytes, tool: str, is_new: bool
    ) -> None:
        self.noted.append((finding, is_new))

    def add_branch(self, branch: str) -> None:
        """Open another branch below the same parent."""
        self.tokens.append(self.world.mint(execution_branch_id=branch))
        self.levels.append([BranchActivity(self.pause_seconds), *self.levels[0][1:]])
        self.house.permit(self.tokens[-1]).release()

    @property
    def ms(self) -> int:
        return self.house.boot_ns // 10**6

    def wait(self, ms: int) -> None:
        self.house.boot_ns += ms * 10**6
        self.house.at(0)

    def ask(
        self, call: int, who: int = 0, tool: int = SEARCH, request: bytes = b""
    ) -> Permit | Denial:
        verdict = self.house.gate.decide(self.tokens[who], tool, call=call, request=request)
        if isinstance(verdict, Denial) and verdict.retry:
            verdict = self.house.judge(self.tokens[who], tool, call=call, request=request)
        return verdict

    def call(
        self,
        call: int,
        answer: int = 0,
        *,
        who: int = 0,
        status: int = 200,
        retry: int = 0,
        lasts: int = 1,
    ) -> StepFinding | None:
        """Make one call, and return what the rules found."""
        verdict = self.ask(call, who)
        started = self.ms
        if isinstance(verdict, Denial):
            last = 0 if verdict.finding is None else verdict.finding.level
            self.house.gate.note_refusal(
                self.tokens[who], SEARCH, verdict.reason, call=call, level=last
            )
            for level in self.levels[who][: last + 1]:
                level.note_rule_refusal(call, started)
            return verdict.finding
        self.wait(lasts)
        verdict.note_answer(answer, status=status, retry_seconds=retry)
        found = verdict.finding
        verdict.settle()
        done = AnsweredCall(
            call,
            answer,
            started,
            self.ms,
            verdict.price_micro,
            retry,
            is_failed=status >= 400,
            is_busy=status in {429, 503},
        )
        note_answer(self.levels[who], done)
        return found

    def expected(self, call: int, who: int = 0) -> StepFinding | None:
        return strongest(judge(self.rules, self.levels[who], call, self.ms))
