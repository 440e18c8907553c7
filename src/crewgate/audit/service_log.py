"""What a process says of itself, on standard error and in the audit; a repetition waits."""

import sys
import time

from crewgate import limits
from crewgate.audit.sink import AuditSink
from crewgate.core.audit.records import ServiceEvent, when


class ServiceLog:
    """Says sentences of the process `name`, a worker or the control process."""

    def __init__(self, name: str, sink: AuditSink) -> None:
        self._name = name
        self._sink = sink
        self._said: dict[str, float] = {}  # of late, and when

    def info(self, news: str) -> None:
        """A change of our own doing: always said, and complaints before it are no repetitions."""
        self._said.clear()
        self._write(news)

    def warn(self, text: str) -> None:
        """A complaint; a repetition is left out for a while, and what is beyond a bound."""
        now = time.monotonic()
        self._said = {
            each: at for each, at in self._said.items() if now - at < limits.complaint_seconds
        }
        if text in self._said or len(self._said) >= limits.complaints_max:
            return
        self._said[text] = now
        self._write(text)

    def _write(self, text: str) -> None:
        # A closed standard error is no reason to end.
        try:
            sys.stderr.write(f"crewgate {self._name}: {text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass
        self._sink.write(ServiceEvent(time=when(time.time_ns()), event=self._name, detail=text))
