"""What came of the story: the figures, and whether each of its promises held. Pure.

Knows no processes; the same observations always give the same answer.
"""

from collections.abc import Iterator
from itertools import chain

import msgspec

from crewgate import limits
from crewgate.core.credits import MICRO, parse_credits
from crewgate.demo.agents import SEARCH, AgentEvent
from crewgate.demo.cluster_act import ClusterObservations
from crewgate.demo.cross_crew_act import CrossCrewObservations
from crewgate.demo.outcomes import (
    ClusterOutcome,
    CrossCrewOutcome,
    RestartOutcome,
    after_the_restart,
    at_the_border,
    at_three_gateways,
    kept_border,
    kept_budgets,
    kept_everywhere,
)
from crewgate.demo.restart import RestartObservations
from crewgate.demo.story import (
    DRAFTER,
    FACT_CHECKER,
    ORCHESTRATOR,
    PUBLISHER,
    RESEARCHER,
    ROLES,
    STYLE_REVIEWER,
    Observations,
)

_SIBLINGS = (ORCHESTRATOR, DRAFTER.role, STYLE_REVIEWER.role, PUBLISHER.role)
_SIBLING_CALLS_MIN = 50
_FORBIDDEN, _UNAUTHORIZED = 403, 401


class ResearcherFigures(msgspec.Struct, frozen=True):
    """The loop: calls that were answered and refused, and what the audit says they cost."""

    admitted: int
    refused: int
    spent_credits: float
    quota_credits: float


class RevocationTimes(msgspec.Struct, frozen=True):
    """The cut: from the agent's reading of the request to the client's last byte; the command."""

    cut_ms: float
    command_ms: float
    calls_admitted_after: int


class SiblingFigures(msgspec.Struct, frozen=True):
    """Calls of everybody whom none of this should have touched."""

    calls: int
    failed: int


class ThreadFigures(msgspec.Struct, frozen=True):
    """One thread of execution, by the audit alone."""

    role: str
    branch: str
    permitted: int
    denied: int
    spent_credits: float


class DemoResult(msgspec.Struct, frozen=True):
    """The figures of the story; `broken` names each promise that did not hold."""

    researcher: ResearcherFigures
    scope_denials: int
    revocation: RevocationTimes
    siblings: SiblingFigures
    border: CrossCrewOutcome
    restart: RestartOutcome
    everywhere: ClusterOutcome
    unattributed_calls: int
    threads: list[ThreadFigures]
    seconds: float
    held: bool
    broken: list[str]


def judge(
    seen: Observations,
    crossed: CrossCrewObservations,
    restarted: RestartObservations,
    ended: ClusterObservations,
) -> DemoResult:
    """The figures and the promises."""
    result = DemoResult(
        researcher=_researcher(seen),
        scope_denials=sum(_is_scope_denial(one) for one in seen.said[DRAFTER.role]),
        revocation=_revocation(seen),
        siblings=_siblings(seen),
        border=at_the_border(crossed),
        restart=after_the_restart(seen, restarted),
        everywhere=at_three_gateways(ended),
        unattributed_calls=_unattributed(seen, ended),
        threads=[_thread(seen, role) for role in ROLES],
        seconds=round(seen.seconds, 1),
        held=True,
        broken=[],
    )
    promises = chain(
        _promises(seen, result),
        kept_border(crossed, result.border),
        kept_budgets(seen, restarted, result.restart),
        kept_everywhere(ended, result.everywhere),
    )
    broken = [text for held, text in promises if not held]
    return msgspec.structs.replace(result, held=not broken, broken=broken)


def _promises(seen: Observations, result: DemoResult) -> Iterator[tuple[bool, str]]:
    researcher, revocation = result.researcher, result.revocation
    loop = [one for one in seen.said[RESEARCHER.role] if one.what == "call"]
    first = next((n for n, one in enumerate(loop) if not one.admitted), len(loop))
    yield (
        researcher.spent_credits == researcher.quota_credits,
        f"the researcher spent {researcher.spent_credits}, not its {researcher.quota_credits}",
    )
    yield (
        len(loop) == limits.demo_loop_calls
        and first < len(loop)
        and all(_is_exhausted(one) for one in loop[first:]),
        "after the first refusal the researcher was not refused for its credits every time",
    )
    yield result.scope_denials > 0, "the drafter's scraping was not refused"
    yield (
        not any(one.admitted and one.path == SEARCH for one in seen.said[DRAFTER.role]),
        "a scraping call of the drafter went through",
    )
    yield _was_cut(seen), "the fact-checker's stream was not cut in its middle"
    yield (
        revocation.cut_ms <= limits.demo_cut_ms_max,
        f"the cut took {revocation.cut_ms} ms, more than {limits.demo_cut_ms_max:g}",
    )
    yield (
        revocation.calls_admitted_after == 0 and _is_dead(seen.said[FACT_CHECKER.role]),
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
        f"{result.unattributed_calls} calls reached a tool without a record of whose they are",
    )
    yield _agree(seen, result), "the audit and the agents count different calls"


def _researcher(seen: Observations) -> ResearcherFigures:
    said = [one for one in seen.said[RESEARCHER.role] if one.what == "call"]
    return ResearcherFigures(
        admitted=sum(one.admitted for one in said),
        refused=sum(_is_exhausted(one) for one in said),
        spent_credits=_spent(seen, RESEARCHER.role),
        quota_credits=parse_credits(RESEARCHER.credits) / MICRO,
    )


def _revocation(seen: Observations) -> RevocationTimes:
    said = seen.said[FACT_CHECKER.role]
    last = max((one.last_byte_ns for one in said if one.what == "ended"), default=0)
    branch = seen.branches[FACT_CHECKER.role]
    recorded = sum(
        row.branch == branch and row.verdict == "permit" and row.time > seen.revoked.time
        for row in seen.calls
    )
    answered = sum(one.admitted for one in _after_the_cut(said))
    return RevocationTimes(
        cut_ms=round((last - seen.revoked.receipt.read_ns) / 1e6, 2),
        command_ms=round(seen.revoked.command_ms, 1),
        calls_admitted_after=max(recorded, answered),
    )


def _siblings(seen: Observations) -> SiblingFigures:
    calls = [
        one
        for role in _SIBLINGS
        for one in seen.said[role]
        if one.what == "call" and not (role == DRAFTER.role and one.path == SEARCH)
    ]
    return SiblingFigures(len(calls), sum(not one.admitted for one in calls))


def _unattributed(seen: Observations, ended: ClusterObservations) -> int:
    """Calls that reached a tool although no audit names such a permit of that branch."""
    rows = chain(seen.calls, ended.calls)
    known = {(row.request, row.branch) for row in rows if row.verdict == "permit"}
    return sum((one.request, one.branch) not in known for one in seen.received)


def _thread(seen: Observations, role: str) -> ThreadFigures:
    rows = [row for row in seen.calls if row.branch == seen.branches[role]]
    return ThreadFigures(
        role=role,
        branch=seen.branches[role],
        permitted=sum(row.verdict == "permit" for row in rows),
        denied=sum(row.verdict == "deny" for row in rows),
        spent_credits=_spent(seen, role),
    )


def _spent(seen: Observations, role: str) -> float:
    return sum(row.cost_micro for row in seen.calls if row.branch == seen.branches[role]) / MICRO


def _agree(seen: Observations, result: DemoResult) -> bool:
    """For each thread the audit has exactly the calls and streams that its agent saw answered."""
    for thread in result.threads:
        said = seen.said[thread.role]
        admitted = sum(one.admitted for one in said if one.what in {"call", "opened"})
        if thread.permitted != admitted:
            return False
    return True


def _is_exhausted(one: AgentEvent) -> bool:
    return one.status == _FORBIDDEN and one.reason == "credits-exhausted"


def _is_scope_denial(one: AgentEvent) -> bool:
    return one.status == _FORBIDDEN and one.reason == "tool-not-allowed"


def _after_the_cut(said: list[AgentEvent]) -> list[AgentEvent]:
    ends = [number for number, one in enumerate(said) if one.what == "ended"]
    return said[ends[0] + 1 :] if ends else said


def _is_dead(said: list[AgentEvent]) -> bool:
    after = _after_the_cut(said)
    return bool(after) and all(
        one.status == _UNAUTHORIZED and one.reason == "branch-revoked" for one in after
    )


def _was_cut(seen: Observations) -> bool:
    """The audit says that the stream ended as revoked, and its client had seen it begin."""
    branch = seen.branches[FACT_CHECKER.role]
    streams = [row for row in seen.calls if row.branch == branch and row.verdict == "permit"]
    opened = any(one.what == "opened" and one.admitted for one in seen.said[FACT_CHECKER.role])
    return opened and [row.outcome for row in streams] == ["revoked"]


def _went_on(seen: Observations) -> bool:
    read = seen.revoked.receipt.read_ns
    return all(
        any(one.admitted and one.at_ns > read for one in seen.said[role]) for role in _SIBLINGS
    )
