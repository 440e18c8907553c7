"""Writes transitions of the minting watch as audit records and as log lines."""

from typing import Final

from crewgate.core.actors import ActorKind
from crewgate.core.anomaly.enforcement import EnforcementLevel, TransitionCause
from crewgate.core.anomaly.results import Transition
from crewgate.core.audit import records

_ACTIONS: Final = {
    EnforcementLevel.OBSERVE: "is released",
    EnforcementLevel.THROTTLE: "is throttled",
    EnforcementLevel.QUARANTINE: "is quarantined",
}
_REASONS: Final = {
    TransitionCause.CALM: "it has been calm for long enough",
    TransitionCause.LAPSE: "its quarantine has ended",
}


def recorded(step: Transition, wall_ns: int, *, by: str, branch: str) -> records.WatchRecord:
    """Return the audit record. `by` ordered the transition; a grant of `branch` caused it."""
    found = step.finding
    return records.WatchRecord(
        time=records.when(wall_ns),
        crew=step.crew,
        orchestrator=step.orchestrator,
        step=step.cause.value,
        was=step.was.value,
        level=step.level.value,
        in_force=step.in_force.value,
        by=by,
        branch=branch,
        measure=found.measure.value if found else "",
        value=found.value if found else 0,
        limit=found.limit if found else 0,
        usual=found.usual if found else None,
    )


def log_line(step: Transition, by: str) -> str:
    """Return a log line."""
    subject, action, found = f"minting of {step.orchestrator}", _ACTIONS[step.level], step.finding
    if step.in_force is not step.level:
        mode = step.in_force.value
        action = f"{action.replace('is', 'would be', 1)}, but its crew's watch has mode {mode}"
    if found is None:
        return f"{subject} {action}: {_REASONS.get(step.cause) or _order(step.cause, by)}"
    bound = "its ceiling is" if found.usual is None else f"{found.usual} is usual, its limit is"
    return f"{subject} {action}: {found.measure.value} {found.value}; {bound} {found.limit}"


def _order(cause: TransitionCause, by: str) -> str:
    if cause is TransitionCause.REMOTE:
        return f"the watch of {by} ordered it"
    if by == "owner":
        return "a person ordered it"
    return f"a person ordered it on {by}" if ActorKind.GATEWAY.is_of(by) else f"{by} ordered it"
