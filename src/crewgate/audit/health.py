"""Reports whether a process can write its audit."""

from crewgate import limits
from crewgate.audit.writer import AuditWriter
from crewgate.core.health import ComponentHealth, degraded, failed, ok


def audit_fact(component: str, audit: AuditWriter, *, refuses: bool) -> ComponentHealth:
    """Return the health of an audit; with `refuses`, calls need it."""
    if audit.writable:
        late = audit.late_seconds()
        if late <= limits.audit_late_seconds_max:
            return ok(component)
        return degraded(
            component,
            f"the disk has not answered for {late:.0f} s, and a power loss now would lose the "
            "lines since then; calls go on",
            f"check the disk of {audit.folder}, or name another [audit] folder",
        )
    error = audit.error
    reason = "it is closed" if error is None else error.strerror or str(error)
    why = f"{reason}; {audit.lost} records are lost"
    remedy = f"make room in {audit.folder}, or name another [audit] folder"
    if refuses:
        return failed(component, why, remedy)
    return degraded(component, f"{why}, and calls go on", remedy)
