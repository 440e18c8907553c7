"""Adds up what the metrics count of calls: for each crew and tool, over all processes."""

import re
import threading
from typing import NamedTuple

from crewgate._native.metrics_reader import MetricsReader
from crewgate.core.audit.records import CallOutcome
from crewgate.metrics.exposition import declared
from crewgate.metrics.families import CREDITS_SPENT, REQUESTS
from crewgate.metrics.process_metrics import shared_descriptor

_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class CallTotal(NamedTuple):
    """The sums of the calls of a crew to a tool since `crewgate serve` began.

    `calls` have ended, `refused` of them because the gateway refused. `spent` are micro-credits.
    """

    crew: str
    tool: str
    calls: int
    refused: int
    spent: int


class CallTotalsReader:
    """Reads the counts behind a descriptor. Threads may share it."""

    def __init__(self, descriptor: int | None) -> None:
        """Read the memory that `crewgate serve` passed on; without one there are no counts.

        Raises OSError.
        """
        self._lock = threading.Lock()
        families = [declared(REQUESTS), declared(CREDITS_SPENT)]
        self._reader = None if descriptor is None else MetricsReader(descriptor, families)

    @classmethod
    def of_process(cls) -> "CallTotalsReader":
        """Read the memory that this process shares; OSError."""
        return cls(shared_descriptor())

    def read(self) -> list[CallTotal]:
        """Return the totals by crew and tool, in the order of their names."""
        if self._reader is None:
            return []
        with self._lock:
            series = self._reader.counters()
        sums: dict[tuple[str, str], list[int]] = {}
        for name, text, value in series:
            labels = labels_of(text)
            found = sums.setdefault((labels["crew"], labels["tool"]), [0, 0, 0])
            if name == CREDITS_SPENT.name.encode():
                found[2] += value
            else:
                found[0] += value
                found[1] += value if labels["outcome"] == CallOutcome.REFUSED else 0
        return [CallTotal(*key, *found) for key, found in sorted(sums.items())]


def labels_of(text: bytes) -> dict[str, str]:
    """Return the labels of a series by name; the inverse of `process_metrics.label_text`."""
    found = _LABEL.findall(text.decode())
    return {name: _ESCAPED.sub(_unescaped, value) for name, value in found}


def _unescaped(match: "re.Match[str]") -> str:
    return "\n" if match[1] == "n" else match[1]
