"""Copies the log lines of a process into its audit, as events of the service."""

import logging
import threading

from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.records import ServiceEvent, when


class LogToAuditHandler(logging.Handler):
    """A handler that writes log lines to the audit; create it in the thread that writes the audit.

    Two kinds of lines go to standard error only: those of the audit itself, which it may be unable
    to write, and those with a traceback.
    """

    def __init__(self, process: str, audit: AuditWriter | AuditRecorder) -> None:
        super().__init__()
        self._process = process
        self._audit = audit
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the event now, or at the next tick if another thread logged it."""
        if record.exc_info or record.name.startswith("crewgate.audit."):
            return
        time = when(int(record.created * 1e9))
        event = ServiceEvent(time=time, event=self._process, detail=record.getMessage())
        if threading.get_ident() == self._thread:
            self._audit.write(event)
        else:
            self._audit.write_later(event)
