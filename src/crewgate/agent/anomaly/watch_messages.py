"""A step of the minting watch in words: for the audit, and for people."""

from typing import Final

from crewgate.core.anomaly.enforcement import EnforcementLevel, TransitionCause
from crewgate.core.anomaly.transitions import Transition
from crewgate.core.audit import records

_SAID: Final = {
    EnforcementLevel.OBSERVE: "is let go",
    EnforcementLevel.THROTTLE: "is throttled",
    EnforcementLevel.QUARANTINE: "is quarantined",
}
_DONE: Final = {
    TransitionCause.CALM: "it has been calm",
    TransitionCause.LAPSE: "its quarantine has come to its end",
}


def recorded(step: Transition, wall_ns: int, *, by: str, branch: str) -> records.WatchRecord:
    """As the audit has it; `by` is who took the step, `branch` whose grant brought it out."""
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
    """One sentence for people."""
    who, what, found = f"minting of {step.orchestrator}", _SAID[step.level], step.finding
    if step.in_force is not step.level:
        mode = step.in_force.value
        what = f"{what.replace('is', 'would be', 1)}, were its crew not watched in mode {mode}"
    if found is None:
        return f"{who} {what}: {_DONE.get(step.cause) or _asked(step.cause, by)}"
    bound = "its ceiling" if found.usual is None else f"{found.usual} is usual, its limit"
    return f"{who} {what}: {found.measure.value} {found.value}; {bound} {found.limit}"


def _asked(cause: TransitionCause, by: str) -> str:
    if cause is TransitionCause.REMOTE:
        return f"the watch of {by} says so"
    return "its owner says so" if by == "owner" else f"its owner says so at {by}"
