"""The figures and promises of the restart and of the two later acts, from their observations."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import msgspec

from crewgate import limits
from crewgate.audit.query_results import CallRow
from crewgate.core.credits import MICRO, parse_credits
from crewgate.demo.agents import AgentEvent
from crewgate.demo.cluster_act import SIBLINGS, TRANSLATOR, ClusterObservations
from crewgate.demo.cross_crew_act import LEAVING, STAYING, CrossCrewObservations
from crewgate.demo.restart import RestartObservations
from crewgate.demo.story import COLLECTOR, Observations


class CrossCrewFigures(msgspec.Struct, frozen=True):
    """The second act: crew BD at the tools of Finance, and the end of orchestrator bd-1.

    `admitted` counts its answered calls with its certificate. `copied` and `token_after` are the
    status and slug of calls with its token alone, before and after its end. `dropped` and `after`
    are TLS alerts at the crews' listener, for its token alone, and for its certificate afterwards.

    `closed_ms` is from the agent's reading of the request to the end of its stream. It is below 0
    if a worker read the list of revoked certificates, which is written first, before the agent had
    read the request. The others are the calls of bd-2.
    """

    admitted: int
    copied: str
    dropped: str
    closed_ms: float
    command_ms: float
    after: str
    token_after: str
    others_calls: int
    others_failed: int


class RestartFigures(msgspec.Struct, frozen=True):
    """The collector after the restart: what the ledger says it spent, and the answer to a call."""

    spent_credits: float
    again: str


class ClusterFigures(msgspec.Struct, frozen=True):
    """The third act: a branch revoked at gateway 1, its stream at 2, and its calls at 3.

    `cut_ms` is from the first agent's reading of the request to the client's last byte; None if no
    byte came. A call counts as "after" if it began when all machines that the receipt counts had
    the revocation. `calls_admitted` counts those before.
    """

    cut_ms: float | None
    command_ms: float
    applied_on: int
    of: int
    receipt_ms: float
    calls_admitted: int
    calls_admitted_after: int
    calls_refused_after: int
    others_calls: int
    others_failed: int


def cross_crew_promises(
    crossed: CrossCrewObservations, border: CrossCrewFigures
) -> Iterator[tuple[bool, str]]:
    """Yield each promise of the second act: whether it held, and what is wrong if not."""
    yield border.admitted > 0, "bd-1 was not served over its certificate"
    yield (
        border.copied == "401 invalid-proof" and border.dropped == "certificate required",
        f"the copied token was answered {border.copied} and {border.dropped}",
    )
    yield (
        any(
            event.what == "ended" and event.reason != "complete"
            for event in crossed.events[LEAVING]
        ),
        "the stream of bd-1 was not cut in its middle",
    )
    yield (
        border.closed_ms <= limits.demo_cut_ms_max,
        f"the connection of bd-1 was closed after {border.closed_ms} ms",
    )
    yield (
        border.after == "certificate revoked" and border.token_after == "401 branch-revoked",
        f"after its end bd-1 was answered {border.after} and {border.token_after}",
    )
    yield (
        border.others_failed == 0 and border.others_calls >= limits.demo_border_calls,
        f"{border.others_failed} of {border.others_calls} calls of bd-2 failed",
    )


def restart_promises(
    seen: Observations, restarted: RestartObservations, restart: RestartFigures
) -> Iterator[tuple[bool, str]]:
    """Yield each promise of the restart: whether it held, and what is wrong if not."""
    yield (
        restart.spent_credits == parse_credits(COLLECTOR.credits) / MICRO
        and restart.again == "403 credits-exhausted",
        f"after a restart the collector had spent {restart.spent_credits}: {restart.again}",
    )
    missing = [role for role, branch in seen.branches.items() if branch not in restarted.after]
    less = [key for key, was in restarted.before.items() if restarted.after.get(key, 0) < was]
    yield (
        not missing and not less,
        f"a restart reset the budgets of {', '.join([*missing, *less])}",
    )


def cluster_promises(
    ended: ClusterObservations, everywhere: ClusterFigures
) -> Iterator[tuple[bool, str]]:
    """Yield each promise of the third act: whether it held, and what is wrong if not."""
    yield everywhere.calls_admitted > 0, "the translator was not served at gateway 3"
    streams = [row for row in permits(ended, TRANSLATOR.role) if row.tool == "summary.stream"]
    yield (
        was_cut(ended.events[TRANSLATOR.role], streams),
        "the translator's stream at gateway 2 was not cut in its middle",
    )
    yield (
        everywhere.cut_ms is not None and everywhere.cut_ms <= limits.demo_cut_ms_max,
        f"the cut at gateway 2 took {everywhere.cut_ms} ms, more than {limits.demo_cut_ms_max:g}",
    )
    yield (
        everywhere.applied_on == everywhere.of == ended.machines,
        f"the receipt counts {everywhere.applied_on} of {everywhere.of}, not {ended.machines}",
    )
    yield (
        everywhere.calls_admitted_after == 0
        and everywhere.calls_refused_after >= limits.demo_after_calls
        and all(event.answer == "401 branch-revoked" for event in _after(ended, TRANSLATOR.role)),
        "a call of the translator was admitted, or not refused as revoked, after the receipt",
    )
    yield (
        everywhere.others_failed == 0 and everywhere.others_calls > 0,
        f"{everywhere.others_failed} of {everywhere.others_calls} calls of its siblings failed",
    )
    yield (
        all(_after(ended, role) for role in SIBLINGS),
        "a sibling of the translator made no call after the receipt",
    )
    yield _agree(ended), "the audits of gateways 2 and 3 and the agents count different calls"


def cross_crew_outcome(crossed: CrossCrewObservations) -> CrossCrewFigures:
    """Return the figures of the second act."""
    left, stayed = crossed.events[LEAVING], crossed.events[STAYING]
    ended = max((event.at_ns for event in left if event.what == "ended"), default=0)
    calls = [event for event in stayed if event.what == "call"]
    return CrossCrewFigures(
        admitted=sum(event.admitted for event in left if event.what in {"call", "opened"}),
        copied=crossed.copied.answer,
        dropped=crossed.dropped,
        closed_ms=round((ended - crossed.decommissioned.read_ns) / 1e6, 2),
        command_ms=round(crossed.command_ms, 1),
        after=crossed.after,
        token_after=crossed.token_after.answer,
        others_calls=len(calls),
        others_failed=sum(not event.admitted for event in calls),
    )


def cluster_outcome(ended: ClusterObservations) -> ClusterFigures:
    """Return the figures of the third act."""
    receipt, events = ended.revoked.receipt, ended.events[TRANSLATOR.role]
    last = max((event.last_byte_ns for event in events if event.what == "ended"), default=0)
    known = ended.revoked.time + timedelta(milliseconds=receipt.ms)
    recorded = sum(row.time > known for row in permits(ended, TRANSLATOR.role))
    after = _after(ended, TRANSLATOR.role)
    answered = sum(event.admitted for event in after)
    others = [event for role in SIBLINGS for event in ended.events[role]]
    return ClusterFigures(
        cut_ms=round((last - receipt.read_ns) / 1e6, 2) if last else None,
        command_ms=round(ended.revoked.command_ms, 1),
        applied_on=receipt.applied_on,
        of=receipt.of,
        receipt_ms=round(receipt.ms, 1),
        calls_admitted=sum(event.admitted for event in events if event.what == "call") - answered,
        calls_admitted_after=max(recorded, answered),
        calls_refused_after=len(after) - answered,
        others_calls=len(others),
        others_failed=sum(not event.admitted for event in others),
    )


def restart_outcome(seen: Observations, restarted: RestartObservations) -> RestartFigures:
    """Return the figures of the restart."""
    spent = restarted.after.get(seen.branches[COLLECTOR.role], 0)
    return RestartFigures(spent / MICRO, restarted.again.answer)


def _after(ended: ClusterObservations, role: str) -> list[AgentEvent]:
    """Return the calls that began when all machines that the receipt counts had the revocation."""
    receipt = ended.revoked.receipt
    known_ns = receipt.read_ns + receipt.ms * 1e6
    return [
        event for event in ended.events[role] if event.what == "call" and event.asked_ns > known_ns
    ]


def permits(seen: Observations | ClusterObservations, role: str) -> list[CallRow]:
    """Return the calls and streams of a role that the audit calls permitted."""
    branch = seen.branches[role]
    return [row for row in seen.calls if row.branch == branch and row.verdict == "permit"]


def was_cut(events: Iterable[AgentEvent], streams: Iterable[CallRow]) -> bool:
    """Whether the client saw the stream begin, and the audit says that it ended as revoked."""
    opened = any(event.what == "opened" and event.admitted for event in events)
    return opened and [row.outcome for row in streams] == ["revoked"]


def _agree(ended: ClusterObservations) -> bool:
    """Whether audit and siblings count alike; a call of the translator may have lost its answer."""
    return all(
        len(permits(ended, role)) == sum(event.admitted for event in ended.events[role])
        for role in SIBLINGS
    )
