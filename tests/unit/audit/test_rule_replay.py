"""Rules that are replayed on records find what the gate found when it wrote them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, deny, grant, permit
from hypothesis import given, settings
from hypothesis import strategies as st
from rules_site import EMBED, FAST, PAUSE, SEARCH, Site
from search_depth import deep

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.audit.replayed_records import ReplayedRecord, in_order
from crewgate.audit.rule_replay import RuleReplay, enforced
from crewgate.audit.what_if_results import ReplayedStep, WhatIf
from crewgate.core.audit import record_builder
from crewgate.core.audit.digest_texts import call_text, digest_text
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import (
    CallEnd,
    CallInfo,
    CallOutcome,
    CallRecord,
    Record,
    RuleStepRecord,
)
from crewgate.core.reasons import Reason
from crewgate.core.rules.builtin import builtin_rules
from crewgate.core.rules.rule import LoopRules, Rule, RuleKind, RuleMode, RuleStep, StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial

read = msgspec.json.Decoder(ReplayedRecord).decode


class RecordedSite(Site):
    """A gate whose calls are recorded, in the order in which they end."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.records: list[Record] = []
        self.steps: list[RuleStepRecord] = []
        self.grants: list[Grant] = []
        self.number = 1
        super().__init__(rules)
        for token in self.tokens:  # which `Site` has opened
            verdict = self.house.gate.decide(token, SEARCH, request=self.request)
            assert isinstance(verdict, Permit)
            info = self.info()
            verdict.release()
            self.grants.append(verdict.grant)
            end = CallEnd(CallOutcome.CLIENT_GONE, 0)
            self.records.append(record_builder.permitted(info, verdict.grant, end))

    def _note(
        self, grant: Grant, finding: StepFinding, request: bytes, tool: str, is_new: bool
    ) -> None:
        if is_new:
            request = request or self.request  # `Site` opens its branches without one
            step = record_builder.rule_step(grant, finding, request, self.house.boot_ns, tool)
            self.steps.append(step)

    @property
    def request(self) -> bytes:
        return self.number.to_bytes(16, "big")

    def info(self, tool: str = "search.web") -> CallInfo:
        return CallInfo(self.house.boot_ns, self.request, "agents", "::/48", tool, "POST")

    def refuse(self, who: int) -> None:
        """Have a call refused for its tool."""
        self.number += 1
        gate, token = self.house.gate, self.tokens[who]
        gate.note_refusal(token, EMBED, Reason.TOOL_NOT_ALLOWED, self.request)
        denial = Denial(Reason.TOOL_NOT_ALLOWED, self.grants[who])
        self.records.append(record_builder.denied(self.info("embeddings.create"), denial))

    def begin(self, call: int, who: int) -> tuple[Permit, CallInfo] | None:
        """Begin a call; None if a rule refuses it, which is recorded."""
        self.number += 1
        verdict = self.ask(call, who, request=self.request)
        if isinstance(verdict, Permit):
            return verdict, self.info()
        self.house.gate.note_refusal(
            self.tokens[who], SEARCH, verdict.reason, self.request, call=verdict.call_digest
        )
        self.records.append(record_builder.denied(self.info(), verdict))
        return None

    def end(self, permit: Permit, info: CallInfo, answer: int, status: int, retry: int) -> None:
        permit.note_answer(answer, status=status, retry_seconds=retry)
        permit.settle()
        end = CallEnd(
            CallOutcome.DONE,
            permit.price_micro,
            status,
            duration_us=(self.house.boot_ns - info.time_ns) // 1000,
            call_digest=call_text(permit.call_digest),
            answer_digest=digest_text(permit.answer_digest),
            retry_seconds=retry,
        )
        self.records.append(record_builder.permitted(info, permit.grant, end))


def replayed(records: Sequence[Record], loops: LoopRules, **bounds: Any) -> WhatIf:
    lines = (read(encode(record)) for record in records)
    return RuleReplay(loops, **bounds).run(in_order(lines, 1000))


def identity(step: RuleStepRecord | ReplayedStep) -> tuple[object, ...]:
    return (
        step.request, step.branch, step.rule, str(step.step), step.count, step.limit, step.caller,
        step.tool,
    )  # fmt: skip


ACTS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 3, 4, 5, 6, 2**63 + 7, 2**63 + 8, -1]),  # the call; -1: refused
        st.sampled_from([0, 2, 2, 3]),  # its answer
        st.sampled_from([200, 200, 200, 404, 503]),
        st.sampled_from([0, 0, 0, 5]),  # Retry-After
        st.sampled_from([1, 7, 900]),  # how long it lasts, in ms
        st.sampled_from([1, 1, 40, 5_000, 61_000]),  # and the pause before
        st.sampled_from([0, 0, 1]),  # the branch
        st.sampled_from([False, False, True]),  # whether the next one begins before it ends
    ),
    max_size=60,
)
OBSERVED = tuple(msgspec.structs.replace(rule, mode=RuleMode.OBSERVE) for rule in FAST)
# The site ends no branch.
REFUSING = tuple(msgspec.structs.replace(rule, end=None) for rule in FAST)


@settings(max_examples=deep(60), deadline=None)
@given(ACTS, st.sampled_from([OBSERVED, REFUSING]))
def test_a_replay_finds_what_the_gate_found(
    acts: list[tuple[int, ...]], rules: tuple[Rule, ...]
) -> None:
    """The same steps, at the same calls, with the same counts, in the same order."""
    site = RecordedSite(rules)
    open_calls: list[tuple[Any, ...]] = []
    for call, answer, status, retry, lasts, pause, who, stays in acts:
        site.wait(pause)
        if call < 0:
            site.refuse(who)
            continue
        begun = site.begin(call, who)
        site.wait(lasts)
        for other in open_calls:
            site.end(*other)
            site.wait(1)
        open_calls = []
        if begun is not None and stays:
            open_calls.append((*begun, answer, status, retry))
        elif begun is not None:
            site.end(*begun, answer, status, retry)
    site.wait(1)  # no two records are of one moment, which would have no order
    for other in open_calls:
        site.end(*other)
    found = replayed(site.records, LoopRules(rules, PAUSE))
    assert list(map(identity, found.steps)) == list(map(identity, site.steps))


DEFAULTS = LoopRules(builtin_rules(RuleMode.ENFORCE, warn=4, refuse=10, end=20))
CALL, ANSWER = "00000000000000aa", "00000000000000bb"


def looping(count: int, branch: str = CHILD, first: int = 0, **more: Any) -> list[CallRecord]:
    """A branch that makes the same call each second, for 0.01 credits."""
    facts = {"call_digest": CALL, "answer_digest": ANSWER, "status": 200} | more
    return [
        permit(first + number, branch, "researcher", "search.web", 10_000, **facts)
        for number in range(count)
    ]


def test_what_a_refusal_and_an_end_save() -> None:
    """A refusal saves its call; an end saves all later ones of the branch and of those below."""
    records = [
        permit(0, ROOT, "lead", "search.web", 10_000, call_digest="00000000000000cc"),
        *looping(250, first=1),
    ]
    found = replayed(records, DEFAULTS)
    assert (found.calls, found.cost_micro) == (251, 2_510_000)
    assert (found.saved_calls, found.saved_micro) == (241, 2_410_000)
    own = {each.step: each for each in found.steps if each.branch == CHILD}
    assert own[RuleStep.WARN].saved_calls == 0
    assert (own[RuleStep.REFUSE].count, own[RuleStep.REFUSE].saved_calls) == (10, 10)
    assert own[RuleStep.REFUSE].request == "request-10"
    assert (own[RuleStep.END].count, own[RuleStep.END].saved_calls) == (20, 231)
    assert own[RuleStep.END].request == "request-20"
    assert own[RuleStep.END].saved_micro == 2_310_000


def test_rules_that_only_observe_save_nothing() -> None:
    observing = LoopRules(builtin_rules(RuleMode.OBSERVE, warn=4, refuse=10, end=20))
    found = replayed(looping(30), observing)
    assert found.saved_calls == 0
    assert RuleStep.END in {each.step for each in found.steps}
    assert replayed(looping(30), enforced(observing)).saved_calls == 21


def test_calls_of_tools_that_the_new_rules_exempt_are_no_loop() -> None:
    loops = msgspec.structs.replace(DEFAULTS, exempt_tools=("search.*",))
    assert replayed(looping(30), loops).steps == []
    assert replayed(looping(30, call_digest="exempt"), DEFAULTS).exempt_calls == 30


def test_calls_without_a_digest_are_each_another_call() -> None:
    """The rules were off then; rates are found all the same."""
    found = replayed(looping(30, call_digest="", answer_digest=""), DEFAULTS)
    assert (found.steps, found.undigested_calls) == ([], 30)
    rate = LoopRules((Rule("rate", RuleKind.CALLS_PER_MINUTE, RuleMode.ENFORCE, None, 20),))
    assert replayed(looping(30, call_digest="", answer_digest=""), rate).saved_calls == 11


def test_calls_that_rules_refused_then_save_nothing() -> None:
    """They count as they did at the gate."""
    refused = [
        deny(9 + number, CHILD, "researcher", "search.web", "loop-detected", call_digest=CALL)
        for number in range(15)
    ]
    found = replayed([*looping(9), *refused], DEFAULTS)
    assert (found.refused_calls, found.saved_calls) == (15, 0)
    assert [each.count for each in found.steps if each.branch == CHILD] == [4, 10, 20]


def test_a_branch_whose_calls_were_all_refused_is_found() -> None:
    """A worker has it opened after a few of them; the others count."""
    refused = [
        deny(number, CHILD, "researcher", "search.web", "tool-not-allowed") for number in range(40)
    ]
    found = replayed(refused, DEFAULTS)
    assert [(each.rule, each.step, each.count) for each in found.steps] == [
        ("refused-calls", RuleStep.WARN, 10), ("refused-calls", RuleStep.END, 20),
    ]  # fmt: skip
    assert found.steps[0].time == refused[limits.rule_uncounted_max + 9].time


def test_live_branches_are_those_whose_tokens_are_good() -> None:
    rules = LoopRules((Rule("live", RuleKind.LIVE_BRANCHES, RuleMode.ENFORCE, None, 1),))
    call = permit(1000, ROOT, "lead", "search.web", 10_000)
    early = replayed([grant(CHILD, "researcher", 300), call], rules)
    assert [(each.branch, each.count) for each in early.steps] == [(ROOT, 1)]
    late = replayed([grant(CHILD, "researcher", 0), call], rules)
    assert late.steps == []


def test_memory_is_bounded_and_says_what_it_forgot() -> None:
    """The branch that was used least lately begins anew; further steps are only counted."""
    ids = [f"0199c1d2-0000-7000-8000-{number:012d}" for number in range(20)]
    records = [
        record
        for turn in range(12)
        for number, branch in enumerate(ids)
        for record in looping(1, branch, first=100 * turn + number)
    ]
    assert len({each.branch for each in replayed(records, DEFAULTS).steps}) == 20
    found = replayed(records, DEFAULTS, branches_max=10)
    assert found.steps == []
    assert found.forgotten_branches == len(records) - 10
    few = replayed(records, DEFAULTS, steps_max=5)
    assert (len(few.steps), few.unlisted_steps) == (5, 35)


def test_each_machine_counts_by_itself() -> None:
    """Nine equal calls on each of two machines are no loop to either."""
    one = looping(9, machine="gw-1")
    two = looping(9, first=20, machine="gw-2")
    found = replayed([*one, *two], DEFAULTS)
    assert {each.step for each in found.steps} == {RuleStep.WARN}


def test_other_branches_and_crews_are_not_ended() -> None:
    other = [
        permit(
            40 + number,
            OTHER,
            "drafter",
            "search.web",
            10_000,
            crew="bd",
            call_digest=f"{number:016x}",
        )
        for number in range(2, 12)
    ]
    found = replayed([*looping(30), *other], DEFAULTS)
    assert found.saved_calls == 21
    assert {each.crew for each in found.steps} == {"article"}


@pytest.mark.parametrize("calls_max", [1, 3, 100])
def test_beginnings_and_ends_come_in_order(calls_max: int) -> None:
    """Lines are written at the end of calls: a long one comes after the calls within it."""
    inner = [permit(second, CHILD, "r", "a.b", 0) for second in (2, 3, 4)]
    long = permit(1, ROOT, "r", "a.b", 0)
    long = msgspec.structs.replace(long, duration_us=10_000_000)
    found = list(in_order([read(encode(each)) for each in (*inner, long)], calls_max))
    assert len(found) == 8
    if calls_max > 1:
        assert [each.us for each in found] == sorted(each.us for each in found)
    moments = [datetime.fromtimestamp(each.us / 1e6, UTC) - NOON for each in found]
    assert max(moments) == timedelta(seconds=11)
