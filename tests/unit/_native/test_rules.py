"""The rules on branches, as the gate counts and judges: against the slow model, and one by one."""

import itertools
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_programs import compiled
from rules_site import EMBED, FAST, SEARCH, Site
from search_depth import deep

from crewgate import limits
from crewgate._native.activity_reader import read_activities
from crewgate._native.permit import Permit
from crewgate.core.reasons import Reason
from crewgate.core.rules.builtin import builtin_rules
from crewgate.core.rules.rule import Rule, RuleKind, RuleMode, RuleStep
from crewgate.core.verdict import Denial

ACTS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 3, 4, 5, 6, 2**63 + 7, 2**63 + 8]),  # the call
        st.sampled_from([0, 2, 2, 3]),  # its answer
        st.sampled_from([200, 200, 200, 404, 503]),
        st.sampled_from([0, 0, 0, 5]),  # Retry-After
        st.sampled_from([1, 7, 900]),  # how long it lasts, in ms
        st.sampled_from([1, 1, 40, 5_000, 61_000]),  # and the pause before
        st.sampled_from([0, 0, 1]),  # the branch
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_the_gate_counts_as_the_model_does(acts: list[tuple[int, ...]]) -> None:
    site = Site(FAST)
    for call, answer, status, retry, lasts, pause, who in acts:
        site.wait(pause)
        expected = site.expected(call, who)
        found = site.call(call, answer, who=who, status=status, retry=retry, lasts=lasts)
        assert found == expected, (call, answer, status, retry, who)


def defaults(mode: RuleMode = RuleMode.ENFORCE) -> Site:
    return Site(builtin_rules(mode, warn=4, refuse=10, end=20), limits.rule_pause_seconds)


def steps(site: Site, count: int, answer: int = 9) -> list[RuleStep | None]:
    found = [site.call(77, answer) for _ in range(count)]
    return [None if each is None else each.step for each in found]


def test_equal_calls_are_warned_then_refused_then_ended() -> None:
    site = defaults()
    assert steps(site, 20) == (
        [None] * 3 + [RuleStep.WARN] * 6 + [RuleStep.REFUSE] * 10 + [RuleStep.END]
    )
    noted = [(each.rule.name, each.step, each.count, each.level) for each, new in site.noted if new]
    assert noted == [  # nothing of its parent and the run
        ("same-answer", RuleStep.WARN, 4, 0),
        ("same-call", RuleStep.REFUSE, 10, 0),
        ("same-call", RuleStep.END, 20, 0),
    ]


def test_a_refusal_says_the_rule_and_costs_nothing() -> None:
    site = defaults()
    steps(site, 9)
    before = site.house.record().settled
    denial = site.ask(77)
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.LOOP_DETECTED
    assert denial.finding is not None
    assert (denial.finding.rule.name, denial.finding.count, denial.finding.limit) == (
        "same-call", 10, 10,
    )  # fmt: skip
    assert site.house.record().settled == before
    assert site.house.record().reserved == 0


def test_observe_mode_refuses_nothing_and_says_what_it_would() -> None:
    site = defaults(RuleMode.OBSERVE)
    assert RuleStep.END in steps(site, 20)
    permit = site.ask(77)
    assert isinstance(permit, Permit)
    assert permit.observed_reason is Reason.LOOP_DETECTED
    permit.release()


def test_another_call_is_progress() -> None:
    site = defaults()
    for number in range(50):
        steps(site, 3)
        assert site.call(1000 + number) is None
    assert site.noted == []


def test_calls_that_were_repeated_before_do_not_hide_a_loop() -> None:
    """Four calls that a branch has made twice are all known: no later call of them is progress."""
    for turn, name, count in (([1], "same-call", 14), ([1, 2], "alternation", 26)):
        site = defaults()
        repeated = [1000 + number for number in [1, 2, 3, 4] * 2]
        then = [1000 + number for number in turn] * 40
        found = [site.call(call, at) for at, call in enumerate([*repeated, *then], 2)]
        refusals = [each for each in found if each is not None and each.step is RuleStep.REFUSE]
        assert (refusals[0].rule.name, refusals[0].count) == (name, 10)
        ends = [at for at, each in enumerate(found) if each and each.step is RuleStep.END]
        assert found.index(refusals[0]) < len(repeated) + count < ends[0]


def test_four_calls_in_turn_are_no_loop_whatever_their_order() -> None:
    """Such as the states of four jobs, which a branch asks for all at once, again and again."""
    site = defaults()
    orders = itertools.cycle(itertools.permutations([1001, 1002, 1003, 1004]))
    calls = itertools.chain.from_iterable(itertools.islice(orders, 100))
    assert [site.call(call, at) for at, call in enumerate(calls, 2)] == [None] * 400


def test_own_refusals_are_no_progress() -> None:
    """A branch that is refused for one call, and then tries others in vain, is where it was."""
    site = defaults()
    steps(site, 12)
    for number in range(5):
        reason = Reason.TOOL_NOT_ALLOWED
        site.house.gate.note_refusal(site.tokens[0], EMBED, reason, call=500 + number)
    found = site.call(77)
    assert found is not None
    assert found.count == 13


def test_calls_at_the_same_time_count_once() -> None:
    """Twenty equal calls at once, such as samples of a model, are no loop."""
    site = defaults()
    for _ in range(3):
        permits = [site.ask(77) for _ in range(20)]
        site.wait(50)
        for permit in permits:
            assert isinstance(permit, Permit)
            permit.note_answer(9)
            permit.settle()
        site.wait(50)
    found = site.ask(77)
    assert isinstance(found, Permit)
    assert found.finding is not None
    assert found.finding.count == 4
    found.release()


def test_a_client_that_waits_as_it_was_asked_to_may_poll() -> None:
    site = defaults()
    for _ in range(120):
        assert site.call(77, 9, status=202, retry=5) is None
        site.wait(5_000)


def test_a_call_that_was_busy_is_only_warned_of() -> None:
    site = defaults()
    found = []
    for _ in range(30):
        found.append(site.call(77, 9, status=503))
        site.wait(1_000)
    assert {each.step for each in found if each is not None} == {RuleStep.WARN}


def test_two_calls_in_turn_are_found() -> None:
    site = defaults()
    found = [site.call(call) for _ in range(21) for call in (77, 78)]
    assert found[-1] is not None
    assert (found[-1].rule.name, found[-1].step) == ("alternation", RuleStep.END)


def test_children_that_share_a_loop_are_refused_at_their_parent_and_end_alone() -> None:
    site = defaults()
    for number in range(3):
        site.add_branch(f"0199c1d2-0000-7000-8000-00000000001{number}")
    found = [site.call(77, who=number % 5) for number in range(20)]
    assert found[-1] is not None
    assert (found[-1].level, found[-1].step) == (1, RuleStep.REFUSE)
    found = [site.call(77, who=number % 5) for number in range(80)]
    assert found[-1] is not None
    assert (found[-1].level, found[-1].step) == (0, RuleStep.END)
    assert {each.level for each, _ in site.noted if each.step is RuleStep.END} == {0}


def test_a_loop_whose_answers_differ_repeats_no_answer() -> None:
    """Also after calls were refused, which have none."""
    site = defaults()
    for number in range(30):
        site.call(77, 100 + number)
    assert {each.rule.name for each, _ in site.noted} == {"same-call"}
    again = defaults()
    for _ in range(30):
        again.call(77, 9, status=404)
    assert {each.rule.name for each, _ in again.noted} == {
        "same-call", "same-answer", "same-failure"
    }  # fmt: skip


def test_a_call_that_many_children_make_once_is_no_loop() -> None:
    """Such as reading the same page first; nor if a few of them make it twice."""
    site = defaults()
    for number in range(25):
        site.add_branch(f"0199c1d2-0000-7000-8000-0000000001{number:02}")
    for who in range(27):
        assert site.call(77, 9, who=who) is None
        site.wait(40)
    assert [site.call(77, who=who) for who in range(2)] == [None, None]
    assert site.noted == []


def test_a_loop_of_one_child_ends_that_child_alone() -> None:
    """Its parent made no other call meanwhile, so it has counted as much. It may still go on."""
    site = defaults()
    steps(site, 25)
    for _ in range(20):
        site.house.gate.note_refusal(site.tokens[0], EMBED, Reason.TOOL_NOT_ALLOWED)
    ended = {(each.rule.name, each.level) for each, _ in site.noted if each.step is RuleStep.END}
    assert ended == {("same-call", 0), ("refused-calls", 0)}


def test_the_call_of_a_branch_that_was_ended_is_refused_to_others_that_repeat_it() -> None:
    """Until one of the run makes another call."""
    site = defaults()
    steps(site, 20)
    assert site.call(77, who=1) is None  # it has not made the call before
    found = site.call(77, who=1)
    assert found is not None
    assert (found.step, found.count, found.level) == (RuleStep.REFUSE, 10, 1)
    site.call(78, who=1)
    assert [site.call(77, 9, who=1) for _ in range(3)] == [None] * 3
    again = [site.call(77, 9, who=1) for _ in range(40)]
    assert [(each.step, each.level) for each in again if each][-1] == (RuleStep.END, 0)
    for _ in range(11):
        found = site.call(77, who=0)
    assert found is not None
    assert (found.step, found.level) == (RuleStep.END, 0)


def test_in_observe_mode_of_a_crew_no_rule_ends_a_branch() -> None:
    """Nor one of a tool or a listener, whatever the mode of the rule."""
    site = defaults()
    steps(site, 9)
    for _ in range(15):
        permit = site.house.judge(site.tokens[0], SEARCH, call=77, observe=True)
        assert isinstance(permit, Permit)
        assert permit.observed_reason is Reason.LOOP_DETECTED
        assert permit.finding is not None
        assert not permit.finding.is_enforced  # the client is warned
        permit.note_answer(9)
        permit.release()
        site.wait(1)
    for _ in range(20):
        reason = Reason.UNKNOWN_TOOL
        site.house.gate.note_refusal(site.tokens[0], EMBED, reason, observe=True)
    strong = [each for each, _ in site.noted if each.step is not RuleStep.WARN]
    assert {(each.rule.name, each.step, each.is_enforced) for each in strong} == {
        ("same-call", RuleStep.REFUSE, False),
        ("same-call", RuleStep.END, False),
        ("refused-calls", RuleStep.END, False),
    }


def test_a_branch_without_a_record_is_not_counted_and_says_so() -> None:
    site = defaults()
    token = site.world.mint(execution_branch_id="0199c1d2-0000-7000-8000-000000000199")
    assert isinstance(site.house.gate.decide(token, SEARCH), Denial)  # no record, no credit
    note = site.house.gate.note_refusal
    assert not note(token, EMBED, Reason.TOOL_NOT_ALLOWED)
    assert note(site.tokens[0], EMBED, Reason.TOOL_NOT_ALLOWED)
    assert note(b"a token that it does not know", EMBED, Reason.TOOL_NOT_ALLOWED)


def test_children_that_are_refused_once_end_no_run() -> None:
    """Such as 25 sub-agents that all try the same tool first; a person hears of it."""
    site = defaults()
    for number in range(25):
        site.add_branch(f"0199c1d2-0000-7000-8000-0000000001{number:02}")
        site.house.gate.note_refusal(site.tokens[-1], EMBED, Reason.TOOL_NOT_ALLOWED)
    found = {(each.rule.name, each.step, each.level) for each, _ in site.noted}
    assert found == {("refused-calls", RuleStep.WARN, 1)}
    assert not any(is_new for _, is_new in site.noted[1:])


def test_calls_that_are_refused_again_and_again_end_the_branch() -> None:
    site = defaults()
    for _ in range(20):
        site.house.gate.note_refusal(site.tokens[0], EMBED, Reason.TOOL_NOT_ALLOWED)
    last = [each for each, _ in site.noted if each.step is RuleStep.END]
    assert [(each.rule.name, each.count, each.level) for each in last[:1]] == [
        ("refused-calls", 20, 0)
    ]


def test_a_rule_of_another_role_or_tool_does_not_judge() -> None:
    rules = (
        Rule("writers", RuleKind.SAME_CALL, RuleMode.ENFORCE, None, 2, role="writer"),
        Rule("others", RuleKind.SAME_CALL, RuleMode.ENFORCE, None, 2, tools=("embeddings.*",)),
    )
    site = Site(rules)
    assert [site.call(77) for _ in range(5)] == [None] * 5
    assert isinstance(site.ask(77, tool=EMBED), Denial)


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_race_and_are_killed(seed: int, tmp_path: Path) -> None:
    """No count is off by more than the calls that were under way."""
    program = compiled("branch_activity", tmp_path)
    done = subprocess.run(
        [program, str(deep(1)), str(seed)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_a_rate_is_recorded_again_after_it_was_lower() -> None:
    site = Site((Rule("rate", RuleKind.CALLS_PER_MINUTE, RuleMode.ENFORCE, 3, None, None),))
    for _ in range(2):
        for call in range(5):
            site.call(100 + call)
        site.wait(61_000)
    assert [each.level for each, new in site.noted if new] == [0, 0]


@pytest.mark.parametrize("kind", list(RuleKind))
def test_each_kind_is_counted(kind: RuleKind) -> None:
    """A limit of 1 is reached by the second equal call, whatever is counted."""
    site = Site((Rule("one", kind, RuleMode.ENFORCE, 1, None, None),))
    for call in (5, 6, 5, 6):
        site.call(call, 9, status=404)
    site.wait(1_000)
    site.house.gate.note_refusal(site.tokens[0], SEARCH, Reason.UNKNOWN_TOOL)
    site.call(5, 9)
    assert {each.rule.kind for each, _ in site.noted} == (
        set() if kind is RuleKind.SAME_CALL else {kind}
    )


def test_a_person_reads_the_calls_of_this_minute_and_the_steps() -> None:
    """At the branch, at its parent and at the run; nothing of a branch that has not called."""
    site = defaults()
    table = site.house.table
    assert {each.calls for each in read_activities(table, site.house.boot_ns).values()} <= {0}
    steps(site, 4)
    found = read_activities(table, site.house.boot_ns)
    number = table.find(site.house.record().key)
    assert found[number].calls == 4
    rules = [rule.name for rule in site.rules]
    assert found[number].noted == (1 << rules.index("same-answer"), 0, 0)
    assert sorted(each.calls for each in found.values()) == [0, 4, 4, 4]
    site.wait(60_000)
    assert read_activities(table, site.house.boot_ns)[number].calls == 0
