"""Whether a process can write its audit, as a fact of its health."""

from crewgate import limits
from crewgate.audit.writer import AuditWriter
from crewgate.core.health import ComponentHealth, degraded, failed, ok


def audit_fact(component: str, audit: AuditWriter, *, refuses: bool) -> ComponentHealth:
    """The health of a process's audit file; `refuses` calls while it cannot be written."""
    if audit.writable:
        late = audit.late_seconds()
        if late <= limits.audit_late_seconds_max:
            return ok(component)
        return degraded(
            component,
            f"the disk has not answered for {late:.0f} s: a power loss now would take the lines "
            "since then; calls go on",
            f"see to the disk of {audit.folder}, or name another [audit] folder",
        )
    error = audit.error
    reason = "it is closed" if error is None else error.strerror or str(error)
    why = f"{reason}; {audit.lost} records are lost"
    mend = f"make room in {audit.folder}, or name another [audit] folder"
    if refuses:
        return failed(component, why, mend)
    return degraded(component, f"{why}, and calls go on", mend)
