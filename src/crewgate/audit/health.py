"""Whether a process can write its audit, as a fact of its health."""

from crewgate.audit.writer import Writer
from crewgate.core.health import Fact, degraded, failed, ok


def audit_fact(component: str, audit: Writer, *, refuses: bool) -> Fact:
    """The health of a process's audit file; `refuses` calls while it cannot be written."""
    if audit.writable:
        return ok(component)
    error = audit.error
    reason = "it is closed" if error is None else error.strerror or str(error)
    why = f"{reason}; {audit.lost} records are lost"
    mend = f"make room in {audit.folder}, or name another [audit] folder"
    if refuses:
        return failed(component, why, mend)
    return degraded(component, f"{why}, and calls go on", mend)
