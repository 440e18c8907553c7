"""The log of a process in its audit: each sentence is an event of the service."""

import logging
import threading

from crewgate.audit.sink import AuditSink
from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.records import ServiceEvent, when


class AuditLogHandler(logging.Handler):
    """Hands on what is logged; to be made in the thread that writes the audit.

    Two things stay on standard error: what the audit says of itself, which could not be written,
    and errors of ours with their tracebacks.
    """

    def __init__(self, process: str, audit: AuditWriter | AuditSink) -> None:
        super().__init__()
        self._process = process
        self._audit = audit
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the event, or have it written if another thread than the audit's has logged it."""
        if record.exc_info or record.name.startswith("crewgate.audit."):
            return
        time = when(int(record.created * 1e9))
        event = ServiceEvent(time=time, event=self._process, detail=record.getMessage())
        if threading.get_ident() == self._thread:
            self._audit.write(event)
        else:
            self._audit.write_later(event)
