"""What a process says of itself, on standard error and in the audit; a repetition waits."""

import sys
import time

from crewgate import limits
from crewgate.audit.sink import Sink
from crewgate.core.record import Event, when


class Voice:
    """Says sentences of the process `name`, a worker or the control process."""

    def __init__(self, name: str, sink: Sink) -> None:
        self._name = name
        self._sink = sink
        self._last = ""
        self._said = 0.0

    def say(self, text: str) -> None:
        """One sentence; a repetition is left out for a while."""
        now = time.monotonic()
        if text == self._last and now - self._said < limits.complaint_seconds:
            return
        self._last, self._said = text, now
        # A closed standard error is no reason to end.
        try:
            sys.stderr.write(f"crewgate {self._name}: {text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass
        self._sink.write(Event(time=when(time.time_ns()), event=self._name, detail=text))
