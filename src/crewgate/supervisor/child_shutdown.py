"""Ends children of the supervisor in order, and kills those that take too long. Blocks."""

import logging
import signal
import time
from collections.abc import Sequence
from typing import Final

from crewgate.supervisor.child import Child
from crewgate.supervisor.signals import Signals

_log = logging.getLogger(__name__)
END_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def end_children(children: Sequence[Child], seconds: float, signals: Signals) -> None:
    """Send SIGTERM, and SIGKILL after `seconds` or at another SIGTERM or SIGINT to us."""
    for child in children:
        child.send(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(child.running for child in children):
        now = time.monotonic()
        for child in children:
            child.ended(now)
        left = deadline - now
        if left <= 0:
            break
        is_running = any(child.running for child in children)
        if is_running and END_SIGNALS & signals.wait(min(left, 1.0)):
            break
    for child in children:
        if child.running:
            _log.warning("killing %s: it did not end in time", child.name)
            child.send(signal.SIGKILL)
            child.wait()
