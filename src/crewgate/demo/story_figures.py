"""Computes the figures of the story, and whether each of its promises held.

The module knows no processes: the same observations always give the same result.
"""

from collections.abc import Iterator
from itertools import chain

import msgspec

from crewgate import limits
from crewgate.core.credits import MICRO, parse_credits
from crewgate.demo import act_figures
from crewgate.demo.agents import SEARCH, AgentEvent
from crewgate.demo.cluster_act import ClusterObservations
from crewgate.demo.cross_crew_act import CrossCrewObservations
from crewgate.demo.restart import RestartObservations
from crewgate.demo.story import (
    COLLECTOR,
    DRAFTER,
    FACT_CHECKER,
    ORCHESTRATOR,
    PUBLISHER,
    RESEARCHER,
    ROLES,
    STYLE_REVIEWER,
    AgentRole,
    Observations,
)

_SIBLINGS = (ORCHESTRATOR, DRAFTER.role, STYLE_REVIEWER.role, PUBLISHER.role)
_SIBLING_CALLS_MIN = 50
_EXHAUSTED = "403 credits-exhausted"
_NO_PROOF = "401 invalid-proof"
_LOOP, _REVOKED = "403 loop-detected", "401 branch-revoked"
# The agent ends the branch at its 20th equal call; the next ones may come before that.
_LOOP_CALLS_MAX, _LOOP_CREDITS_MAX = 20, 0.20
_ENDED = frozenset({_LOOP, _REVOKED})


class LoopFigures(msgspec.Struct, frozen=True):
    """A loop: its answered and refused calls, and what the audit says they cost.

    `last` is the answer to its last call.
    """

    admitted: int
    refused: int
    spent_credits: float
    quota_credits: float
    last: str


class CopiedTokenFigures(msgspec.Struct, frozen=True):
    """The answers to calls with the researcher's token: without a proof, and with another key."""

    alone: str
    other_key: str


class RevocationFigures(msgspec.Struct, frozen=True):
    """The revocation: from the agent's reading to the client's last byte, and the whole command."""

    cut_ms: float
    command_ms: float
    calls_admitted_after: int


class SiblingFigures(msgspec.Struct, frozen=True):
    """The calls of the agents that the incident must not affect."""

    calls: int
    failed: int


class AlertFigures(msgspec.Struct, frozen=True):
    """The alert that a rule has ended the researcher; an empty text if none came."""

    text: str
    is_signed: bool


class AgentFigures(msgspec.Struct, frozen=True):
    """One agent's calls and costs, from the audit alone."""

    role: str
    branch: str
    permitted: int
    denied: int
    spent_credits: float


class DemoResult(msgspec.Struct, frozen=True):
    """The figures of the story; `broken` has a sentence for each promise that did not hold."""

    researcher: LoopFigures
    collector: LoopFigures
    alert: AlertFigures
    copied: CopiedTokenFigures
    scope_denials: int
    revocation: RevocationFigures
    siblings: SiblingFigures
    border: act_figures.CrossCrewFigures
    restart: act_figures.RestartFigures
    everywhere: act_figures.ClusterFigures
    unattributed_calls: int
    threads: list[AgentFigures]
    seconds: float
    held: bool
    broken: list[str]


def judge(
    seen: Observations,
    crossed: CrossCrewObservations,
    restarted: RestartObservations,
    ended: ClusterObservations,
) -> DemoResult:
    """Compute the figures, and check each promise."""
    result = DemoResult(
        researcher=_loop(seen, RESEARCHER, _LOOP),
        collector=_loop(seen, COLLECTOR, _EXHAUSTED),
        alert=_alert(seen),
        copied=CopiedTokenFigures(seen.copied.alone.answer, seen.copied.other_key.answer),
        scope_denials=sum(
            event.answer == "403 tool-not-allowed" for event in seen.events[DRAFTER.role]
        ),
        revocation=_revocation(seen),
        siblings=_siblings(seen),
        border=act_figures.cross_crew_outcome(crossed),
        restart=act_figures.restart_outcome(seen, restarted),
        everywhere=act_figures.cluster_outcome(ended),
        unattributed_calls=_unattributed(seen, ended),
        threads=[_thread(seen, role) for role in ROLES],
        seconds=round(seen.seconds, 1),
        held=True,
        broken=[],
    )
    promises = chain(
        _promises(seen, result),
        act_figures.cross_crew_promises(crossed, result.border),
        act_figures.restart_promises(seen, restarted, result.restart),
        act_figures.cluster_promises(ended, result.everywhere),
    )
    broken = [text for held, text in promises if not held]
    return msgspec.structs.replace(result, held=not broken, broken=broken)


def _promises(seen: Observations, result: DemoResult) -> Iterator[tuple[bool, str]]:
    revocation = result.revocation
    yield from _loop_promises(seen, result)
    yield bool(result.alert.text), "no alert said that a rule has ended the researcher"
    yield result.alert.is_signed, "the signature of the alert is not good"
    copied = result.copied
    yield (
        copied.alone == copied.other_key == _NO_PROOF,
        f"the researcher's token, copied, was answered {copied.alone} and {copied.other_key}",
    )
    yield result.scope_denials > 0, "the drafter's scraping was not refused"
    yield (
        not any(event.admitted and event.path == SEARCH for event in seen.events[DRAFTER.role]),
        "a scraping call of the drafter went through",
    )
    yield (
        act_figures.was_cut(
            seen.events[FACT_CHECKER.role], act_figures.permits(seen, FACT_CHECKER.role)
        ),
        "the fact-checker's stream was not cut in its middle",
    )
    yield (
        revocation.cut_ms <= limits.demo_cut_ms_max,
        f"the cut took {revocation.cut_ms} ms, more than {limits.demo_cut_ms_max:g}",
    )
    yield (
        revocation.calls_admitted_after == 0
        and _is_refused_as_revoked(seen.events[FACT_CHECKER.role]),
        "a call of the fact-checker was admitted, or not refused as revoked, after the cut",
    )
    siblings = result.siblings
    yield (
        siblings.calls >= _SIBLING_CALLS_MIN and siblings.failed == 0,
        f"{siblings.failed} of {siblings.calls} calls of the siblings failed",
    )
    yield _went_on(seen), "a sibling made no call after the revocation"
    yield (
        result.unattributed_calls == 0,
        f"{result.unattributed_calls} calls reached a tool without a record of their branch",
    )
    yield _agree(seen, result), "the audit and the agents count different calls"


def _loop_promises(seen: Observations, result: DemoResult) -> Iterator[tuple[bool, str]]:
    researcher, collector = result.researcher, result.collector
    asked = _calls(seen, RESEARCHER.role)
    yield (
        0 < researcher.spent_credits <= _LOOP_CREDITS_MAX
        and researcher.refused > 0
        and len(asked) == limits.demo_same_page_calls
        and all(event.answer in _ENDED for event in asked[_LOOP_CALLS_MAX:]),
        f"the researcher's loop went on: {researcher.admitted} answered, last {researcher.last}",
    )
    yield (
        collector.spent_credits == collector.quota_credits,
        f"the collector spent {collector.spent_credits}, not its {collector.quota_credits}",
    )
    paged = _calls(seen, COLLECTOR.role)
    first = next((n for n, event in enumerate(paged) if not event.admitted), len(paged))
    yield (
        len(paged) == limits.demo_loop_calls
        and first < len(paged)
        and all(event.answer == _EXHAUSTED for event in paged[first:]),
        "after the first refusal the collector was not refused for its credits every time",
    )


def _alert(seen: Observations) -> AlertFigures:
    alert = seen.alert
    if alert is None:
        return AlertFigures(text="", is_signed=False)
    return AlertFigures(alert.text, alert.is_signed)


def _calls(seen: Observations, role: str) -> list[AgentEvent]:
    return [event for event in seen.events[role] if event.what == "call"]


def _loop(seen: Observations, part: AgentRole, refusal: str) -> LoopFigures:
    events = _calls(seen, part.role)
    return LoopFigures(
        admitted=sum(event.admitted for event in events),
        refused=sum(event.answer == refusal for event in events),
        spent_credits=_spent(seen, part.role),
        quota_credits=parse_credits(part.credits) / MICRO,
        last=events[-1].answer if events else "",
    )


def _revocation(seen: Observations) -> RevocationFigures:
    events = seen.events[FACT_CHECKER.role]
    last = max((event.last_byte_ns for event in events if event.what == "ended"), default=0)
    recorded = sum(
        row.time > seen.revoked.time for row in act_figures.permits(seen, FACT_CHECKER.role)
    )
    answered = sum(event.admitted for event in _after_the_cut(events))
    return RevocationFigures(
        cut_ms=round((last - seen.revoked.receipt.read_ns) / 1e6, 2),
        command_ms=round(seen.revoked.command_ms, 1),
        calls_admitted_after=max(recorded, answered),
    )


def _siblings(seen: Observations) -> SiblingFigures:
    calls = [
        event
        for role in _SIBLINGS
        for event in seen.events[role]
        if event.what == "call" and not (role == DRAFTER.role and event.path == SEARCH)
    ]
    return SiblingFigures(len(calls), sum(not event.admitted for event in calls))


def _unattributed(seen: Observations, ended: ClusterObservations) -> int:
    """Count calls that reached a tool although no audit has a permit for them and their branch."""
    rows = chain(seen.calls, ended.calls)
    known = {(row.request, row.branch) for row in rows if row.verdict == "permit"}
    return sum((event.request, event.branch) not in known for event in seen.received)


def _thread(seen: Observations, role: str) -> AgentFigures:
    rows = [row for row in seen.calls if row.branch == seen.branches[role]]
    return AgentFigures(
        role=role,
        branch=seen.branches[role],
        permitted=sum(row.verdict == "permit" for row in rows),
        denied=sum(row.verdict == "deny" for row in rows),
        spent_credits=_spent(seen, role),
    )


def _spent(seen: Observations, role: str) -> float:
    return sum(row.cost_micro for row in seen.calls if row.branch == seen.branches[role]) / MICRO


def _agree(seen: Observations, result: DemoResult) -> bool:
    """Whether the audit has exactly the calls and streams that each agent saw answered."""
    for thread in result.threads:
        events = seen.events[thread.role]
        admitted = sum(event.admitted for event in events if event.what in {"call", "opened"})
        if thread.permitted != admitted:
            return False
    return True


def _after_the_cut(events: list[AgentEvent]) -> list[AgentEvent]:
    ends = [number for number, event in enumerate(events) if event.what == "ended"]
    return events[ends[0] + 1 :] if ends else events


def _is_refused_as_revoked(events: list[AgentEvent]) -> bool:
    after = _after_the_cut(events)
    return bool(after) and all(event.answer == "401 branch-revoked" for event in after)


def _went_on(seen: Observations) -> bool:
    read = seen.revoked.receipt.read_ns
    return all(
        any(event.admitted and event.at_ns > read for event in seen.events[role])
        for role in _SIBLINGS
    )
