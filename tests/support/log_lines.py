"""What the project's modules log, as a list of sentences."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from crewgate.runtime.process_log import RepetitionFilter

_PROJECT = logging.getLogger("crewgate")


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def logged(repetitions: RepetitionFilter | None = None) -> Iterator[list[str]]:
    """Collect all sentences, or those that a process with this filter would write."""
    collector, level = _Collector(), _PROJECT.level
    if repetitions is not None:
        collector.addFilter(repetitions)
    _PROJECT.addHandler(collector)
    _PROJECT.setLevel(logging.INFO)
    try:
        yield collector.lines
    finally:
        _PROJECT.setLevel(level)
        _PROJECT.removeHandler(collector)
