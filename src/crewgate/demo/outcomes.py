"""What came of the restart and of the later acts: their figures and promises. Pure."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec

from crewgate import limits
from crewgate.audit.reader import CallRow
from crewgate.core.credits import MICRO, parse_credits
from crewgate.demo.agents import AgentEvent
from crewgate.demo.cluster_act import SIBLINGS, TRANSLATOR, ClusterObservations
from crewgate.demo.cross_crew_act import LEAVING, STAYING, CrossCrewObservations
from crewgate.demo.restart import RestartObservations
from crewgate.demo.story import RESEARCHER, Observations


class CrossCrewOutcome(msgspec.Struct, frozen=True):
    """Crew BD at Finance's tools. `copied` and `token_after`: status and slug of refusals.

    `closed_ms` is below 0 where a worker took up the list of revoked certificates, which is written
    first, before the agent had read the request.
    """

    admitted: int  # calls of the orchestrator that left, over its certificate
    copied: str  # its token alone, at the agents' listener
    dropped: str  # its token alone, at the crews' listener: the alert
    closed_ms: float  # from the agent's reading of the request to the end of its stream
    command_ms: float
    after: str  # its certificate afterwards: the alert
    token_after: str
    others_calls: int
    others_failed: int


class RestartOutcome(msgspec.Struct, frozen=True):
    """The researcher after the gateway was started again, by the ledger and by its own answer."""

    spent_credits: float
    again: str


class ClusterOutcome(msgspec.Struct, frozen=True):
    """A branch that was revoked at gateway 1: its stream at gateway 2, its calls at gateway 3.

    The cut is from the first agent's reading of the request to the client's last byte. A call is
    after it if it was asked for when the machines that the receipt counts had the revocation.
    """

    cut_ms: float | None  # None: not a byte came
    command_ms: float
    applied_on: int
    of: int
    receipt_ms: float
    calls_admitted: int  # before
    calls_admitted_after: int
    calls_refused_after: int
    others_calls: int
    others_failed: int


def kept_border(
    crossed: CrossCrewObservations, border: CrossCrewOutcome
) -> Iterator[tuple[bool, str]]:
    """What was promised of the border."""
    yield border.admitted > 0, "bd-1 was not served over its certificate"
    yield (
        border.copied == "401 binding-mismatch" and border.dropped == "certificate required",
        f"the copied token was answered {border.copied} and {border.dropped}",
    )
    yield (
        any(one.what == "ended" and one.reason != "complete" for one in crossed.said[LEAVING]),
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


def kept_budgets(
    seen: Observations, restarted: RestartObservations, restart: RestartOutcome
) -> Iterator[tuple[bool, str]]:
    """What was promised of the restart."""
    yield (
        restart.spent_credits == parse_credits(RESEARCHER.credits) / MICRO
        and restart.again == "403 credits-exhausted",
        f"after a restart the researcher had spent {restart.spent_credits}: {restart.again}",
    )
    missing = [role for role, branch in seen.branches.items() if branch not in restarted.after]
    less = [key for key, was in restarted.before.items() if restarted.after.get(key, 0) < was]
    yield (
        not missing and not less,
        f"a restart reset the budgets of {', '.join([*missing, *less])}",
    )


def kept_everywhere(
    ended: ClusterObservations, everywhere: ClusterOutcome
) -> Iterator[tuple[bool, str]]:
    """What was promised of three gateways."""
    yield everywhere.calls_admitted > 0, "the translator was not served at gateway 3"
    yield _was_cut(ended), "the translator's stream at gateway 2 was not cut in its middle"
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
        and all(
            _status_text(one) == "401 branch-revoked" for one in _after(ended, TRANSLATOR.role)
        ),
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


def at_the_border(crossed: CrossCrewObservations) -> CrossCrewOutcome:
    """Its figures."""
    left, stayed = crossed.said[LEAVING], crossed.said[STAYING]
    ended = max((one.at_ns for one in left if one.what == "ended"), default=0)
    calls = [one for one in stayed if one.what == "call"]
    return CrossCrewOutcome(
        admitted=sum(one.admitted for one in left if one.what in {"call", "opened"}),
        copied=_status_text(crossed.copied),
        dropped=crossed.dropped,
        closed_ms=round((ended - crossed.decommissioned.read_ns) / 1e6, 2),
        command_ms=round(crossed.command_ms, 1),
        after=crossed.after,
        token_after=_status_text(crossed.token_after),
        others_calls=len(calls),
        others_failed=sum(not one.admitted for one in calls),
    )


def at_three_gateways(ended: ClusterObservations) -> ClusterOutcome:
    """Its figures."""
    receipt, said = ended.revoked.receipt, ended.said[TRANSLATOR.role]
    last = max((one.last_byte_ns for one in said if one.what == "ended"), default=0)
    known = ended.revoked.time + timedelta(milliseconds=receipt.ms)
    recorded = sum(row.time > known for row in _permits(ended, TRANSLATOR.role))
    after = _after(ended, TRANSLATOR.role)
    answered = sum(one.admitted for one in after)
    others = [one for role in SIBLINGS for one in ended.said[role]]
    return ClusterOutcome(
        cut_ms=round((last - receipt.read_ns) / 1e6, 2) if last else None,
        command_ms=round(ended.revoked.command_ms, 1),
        applied_on=receipt.applied_on,
        of=receipt.of,
        receipt_ms=round(receipt.ms, 1),
        calls_admitted=sum(one.admitted for one in said if one.what == "call") - answered,
        calls_admitted_after=max(recorded, answered),
        calls_refused_after=len(after) - answered,
        others_calls=len(others),
        others_failed=sum(not one.admitted for one in others),
    )


def after_the_restart(seen: Observations, restarted: RestartObservations) -> RestartOutcome:
    """Its figures."""
    spent = restarted.after.get(seen.branches[RESEARCHER.role], 0)
    return RestartOutcome(spent / MICRO, _status_text(restarted.again))


def _status_text(one: AgentEvent) -> str:
    return f"{one.status} {one.reason}".strip()


def _after(ended: ClusterObservations, role: str) -> list[AgentEvent]:
    """Calls that were asked for when all machines that the receipt counts had the revocation."""
    receipt = ended.revoked.receipt
    known_ns = receipt.read_ns + receipt.ms * 1e6
    return [one for one in ended.said[role] if one.what == "call" and one.asked_ns > known_ns]


def _permits(ended: ClusterObservations, role: str) -> list[CallRow]:
    branch = ended.branches[role]
    return [row for row in ended.calls if row.branch == branch and row.verdict == "permit"]


def _was_cut(ended: ClusterObservations) -> bool:
    """The audit says that the stream ended as revoked, and its client had seen it begin."""
    opened = any(one.what == "opened" and one.admitted for one in ended.said[TRANSLATOR.role])
    streams = [row for row in _permits(ended, TRANSLATOR.role) if row.tool == "summary.stream"]
    return opened and [row.outcome for row in streams] == ["revoked"]


def _agree(ended: ClusterObservations) -> bool:
    """Of the siblings; a call of the translator may have been cut before its answer."""
    return all(
        len(_permits(ended, role)) == sum(one.admitted for one in ended.said[role])
        for role in SIBLINGS
    )
