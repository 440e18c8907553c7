"""The story holds only if every promise does, and a broken one is named."""

from datetime import timedelta

import msgspec
import pytest
from demo_observations import BRANCHES, NOON, READ_NS, crossed, ended, restarted, row, said, seen
from msgspec.structs import replace

from crewgate.demo.agents import EMBEDDINGS, PUBLISH, SEARCH, SUMMARY, AgentEvent
from crewgate.demo.alerts import SignedAlert
from crewgate.demo.cluster_act import ClusterObservations
from crewgate.demo.cross_crew_act import (
    BALANCE,
    LEAVING,
    STATEMENT,
    STAYING,
    CrossCrewObservations,
    DecommissionOutput,
)
from crewgate.demo.restart import RestartObservations
from crewgate.demo.story import Observations
from crewgate.demo.story_figures import judge
from crewgate.demo.tools import ReceivedCall


def with_said(role: str, *ones: AgentEvent, first: bool = False) -> Observations:
    """The story in which that role also said something."""
    story = seen()
    there = story.events[role]
    return replace(
        story, events=story.events | {role: [*ones, *there] if first else [*there, *ones]}
    )


def test_a_story_that_held() -> None:
    """The figures are the observations', and nothing is broken."""
    result = judge(seen(), crossed(), restarted(), ended())
    assert result.broken == []
    assert result.held
    assert msgspec.to_builtins(result.researcher) == {
        "admitted": 9,
        "refused": 11,
        "spent_credits": 0.09,
        "quota_credits": 2.5,
        "last": "401 branch-revoked",
    }
    assert msgspec.to_builtins(result.collector) == {
        "admitted": 250,
        "refused": 50,
        "spent_credits": 2.5,
        "quota_credits": 2.5,
        "last": "403 credits-exhausted",
    }
    assert result.scope_denials == 20
    assert msgspec.to_builtins(result.revocation) == {
        "cut_ms": 8.0,
        "command_ms": 300.0,
        "calls_admitted_after": 0,
    }
    assert (result.siblings.calls, result.siblings.failed) == (80, 0)
    assert msgspec.to_builtins(result.everywhere) == {
        "cut_ms": 4.0,
        "command_ms": 300.0,
        "applied_on": 3,
        "of": 3,
        "receipt_ms": 7.0,
        "calls_admitted": 2,
        "calls_admitted_after": 0,
        "calls_refused_after": 20,
        "others_calls": 60,
        "others_failed": 0,
    }
    assert result.unattributed_calls == 0
    spent = [thread.spent_credits for thread in result.threads]
    assert spent == [0.2, 0.09, 2.5, 0.2, 0.01, 0.2, 0.2]


COMPLETE = AgentEvent("ended", READ_NS, STATEMENT, 200, "complete")
STRANGER = ReceivedCall("/search", "nobody-1", "")
LATE = row("fact-checker", 99, time=NOON + timedelta(seconds=6))


@pytest.mark.parametrize(
    ("story", "promise"),
    [
        (with_said("researcher", said(SEARCH)), "the researcher's loop went on: 10 answered"),
        (replace(seen(), alert=None), "no alert said"),
        (
            replace(seen(), alert=SignedAlert("ended", is_signed=False)),
            "signature of the alert is not good",
        ),
        (with_said("collector", said(SEARCH)), "was not refused for its credits every time"),
        (with_said("collector", said(SEARCH, 503, "budget-unavailable"), first=True), "not refus"),
        (replace(seen(), calls=seen().calls[:-1]), "count different calls"),
        (replace(seen(), calls=[*seen().calls, row("collector", 999)]), "spent 2.51, not its 2.5"),
        (
            replace(seen(), events=seen().events | {"drafter": [said(EMBEDDINGS)] * 20}),
            "scraping was",
        ),
        (with_said("drafter", said(SEARCH)), "a scraping call of the drafter went through"),
        (
            replace(seen(), copied=replace(seen().copied, alone=said(SEARCH))),
            "the researcher's token, copied, was answered 200 and 401 invalid-proof",
        ),
        (
            replace(seen(), copied=replace(seen().copied, other_key=said(SEARCH, 403, "x"))),
            "was answered 401 invalid-proof and 403 x",
        ),
        (with_said("drafter", said(EMBEDDINGS, 503)), "1 of 81 calls of the siblings failed"),
        (with_said("publisher", said(PUBLISH, 0)), "1 of 81 calls of the siblings failed"),
        (with_said("fact-checker", said(SEARCH)), "was admitted, or not refused as revoked"),
        (with_said("fact-checker", said(SEARCH, 403, "x")), "was admitted, or not refused as"),
        (replace(seen(), calls=[*seen().calls, LATE]), "was admitted, or not refused as revoked"),
        (
            with_said(
                "fact-checker", AgentEvent("ended", 9, SUMMARY, 200, "", READ_NS + 300_000_000)
            ),
            "the cut took 300.0 ms, more than 200",
        ),
        (
            replace(seen(), calls=[replace(one, outcome="done") for one in seen().calls]),
            "stream was not cut in its middle",
        ),
        (
            replace(seen(), events=seen().events | {"publisher": [said(PUBLISH, second=1)] * 20}),
            "a sibling made no call after the revocation",
        ),
        (
            replace(seen(), received=[*seen().received, STRANGER]),
            "1 calls reached a tool without a record",
        ),
        (
            replace(
                seen(),
                received=[replace(one, branch=BRANCHES["drafter"]) for one in seen().received],
            ),
            "calls reached a tool without a record",
        ),
    ],
)
def test_each_promise_can_be_broken(story: Observations, promise: str) -> None:
    """Whatever goes wrong is seen, and named."""
    result = judge(story, crossed(), restarted(), ended())
    assert not result.held
    assert any(promise in text for text in result.broken), result.broken


def test_a_story_in_which_nobody_spoke_did_not_hold() -> None:
    """No observation is no proof."""
    silent = replace(seen(), events={role: [] for role in BRANCHES}, calls=[], received=[])
    assert len(judge(silent, crossed(), restarted(), ended()).broken) >= 6


@pytest.mark.parametrize(
    ("act", "promise"),
    [
        (replace(crossed(), copied=said(BALANCE)), "the copied token was answered 200 and"),
        (replace(crossed(), dropped="answered"), "the copied token was answered 401 invalid-p"),
        (
            replace(crossed(), events=crossed().events | {LEAVING: [said(BALANCE), COMPLETE]}),
            "the stream of bd-1 was not cut in its middle",
        ),
        (
            replace(crossed(), decommissioned=DecommissionOutput(READ_NS - 300_000_000)),
            "the connection of bd-1 was closed after 304.0 ms",
        ),
        (replace(crossed(), events=crossed().events | {LEAVING: []}), "was not served over its"),
        (replace(crossed(), after="answered"), "after its end bd-1 was answered answered and"),
        (replace(crossed(), token_after=said(BALANCE)), "revoked and 200"),
        (
            replace(crossed(), events=crossed().events | {STAYING: [said(BALANCE, 503)]}),
            "1 of 1 calls of bd-2 failed",
        ),
    ],
)
def test_a_promise_of_the_border_that_was_broken_is_named(
    act: CrossCrewObservations, promise: str
) -> None:
    """Each observation of the second act counts."""
    result = judge(seen(), act, restarted(), ended())
    assert not result.held
    assert any(promise in text for text in result.broken), result.broken


def test_the_list_of_the_revoked_may_be_quicker_than_the_agent() -> None:
    """It is written first; on a busy machine a worker has read it before the agent is asked."""
    act = replace(crossed(), decommissioned=DecommissionOutput(READ_NS + 6_000_000))
    result = judge(seen(), act, restarted(), ended())
    assert result.held
    assert result.border.closed_ms == -2.0


LESS = restarted().after | {BRANCHES["drafter"]: 0}
GONE = {branch: spent for branch, spent in LESS.items() if branch != BRANCHES["publisher"]}
PAID = restarted().after | {BRANCHES["collector"]: 2_490_000}


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (replace(restarted(), again=said(SEARCH)), "had spent 2.5: 200"),
        (replace(restarted(), after=PAID), "had spent 2.49: 403 credits-exhausted"),
        (replace(restarted(), after=LESS), f"reset the budgets of {BRANCHES['drafter']}"),
        (replace(restarted(), after=GONE), "reset the budgets of publisher"),
    ],
)
def test_a_budget_that_a_restart_reset_is_named(broken: RestartObservations, promise: str) -> None:
    """By the ledger's own report, and by what the gateway answers."""
    result = judge(seen(), crossed(), broken, ended())
    assert not result.held
    assert any(promise in text for text in result.broken), result.broken


def three(role: str, *ones: AgentEvent) -> ClusterObservations:
    """The third act in which that role also said something."""
    act = ended()
    return replace(act, events=act.events | {role: [*act.events[role], *ones]})


def received(**receipt: float) -> ClusterObservations:
    """The third act with another receipt."""
    act = ended()
    changed = replace(act.revoked.receipt, **receipt)
    return replace(act, revoked=replace(act.revoked, receipt=changed))


LAST = AgentEvent("ended", 9, SUMMARY, 200, "", READ_NS + 300_000_000)
ALL_DONE = [replace(one, outcome="done") for one in ended().calls]
UNSERVED = [one for one in ended().events["translator"] if not one.admitted or one.what != "call"]
BEFORE = [said(EMBEDDINGS, second=4)] * 30


@pytest.mark.parametrize(
    ("act", "promise"),
    [
        (replace(ended(), events=ended().events | {"translator": UNSERVED}), "was not served at"),
        (replace(ended(), calls=ALL_DONE), "stream at gateway 2 was not cut in its middle"),
        (three("translator", LAST), "the cut at gateway 2 took 300.0 ms, more than 200"),
        (
            replace(ended(), events=ended().events | {"translator": []}),
            "took None ms, more than 200",
        ),
        (received(applied_on=2), "the receipt counts 2 of 3, not 3"),
        (received(applied_on=2, of=2), "the receipt counts 2 of 2, not 3"),
        (three("translator", said(SEARCH)), "was admitted, or not refused as revoked"),
        (three("translator", said(SEARCH, 503, "busy")), "was admitted, or not refused as"),
        (
            replace(ended(), calls=[*ended().calls, row("translator", 9, time=LATE.time)]),
            "was admitted, or not refused as revoked, after the receipt",
        ),
        (received(ms=5000.0), "was admitted, or not refused as revoked, after the receipt"),
        (three("editor", said(EMBEDDINGS, 503)), "1 of 61 calls of its siblings failed"),
        (
            replace(ended(), events=ended().events | {"indexer": BEFORE}),
            "a sibling of the translator made no call after the receipt",
        ),
        (replace(ended(), calls=ended().calls[:-1]), "count different calls"),
    ],
)
def test_a_promise_of_the_three_gateways_that_was_broken_is_named(
    act: ClusterObservations, promise: str
) -> None:
    """Each observation of the third act counts."""
    result = judge(seen(), crossed(), restarted(), act)
    assert not result.held
    assert any(promise in text for text in result.broken), result.broken


def test_a_call_that_another_gateway_wrote_down_has_a_name() -> None:
    """The tools' server lists the calls of all three gateways."""
    of_others = [ReceivedCall("/search", one.request, one.branch) for one in ended().calls]
    story = replace(seen(), received=[*seen().received, *of_others])
    assert judge(story, crossed(), restarted(), ended()).unattributed_calls == 0
