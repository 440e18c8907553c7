"""Writes the log of a process to standard error, and limits repeated warnings.

Every module logs through `logging`. A process of this project makes one `ProcessLog`; a program
that embeds the library configures `logging` itself. Warnings are limited, so that no client can
fill a disk with them:

    _log.warning("the agent is unavailable: %s", why)  # the same sentence: once in 10 s
    _log.warning("%s: %s", name, why, extra={"subject": name})  # any sentence: once in 10 s
    _log.info("attached")  # always; a repeated warning after it passes again
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self, TextIO

from crewgate import limits

_ROOT: Final = logging.getLogger()
_PROJECT: Final = logging.getLogger("crewgate")


class RepetitionFilter(logging.Filter):
    """Drops a warning that already passed in the last `limits.log_repeat_seconds`.

    In that time, at most `warnings_max` different warnings pass. Among records with the same
    `subject`, one passes; the next one that passes says how many were dropped.
    """

    def __init__(
        self, warnings_max: int = limits.log_warnings_max, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._warnings_max = warnings_max
        self._now = now
        self._lock = threading.Lock()
        self._passed: dict[str, float] = {}  # text -> when it passed
        # subject -> when a record passed, and how many were dropped since
        self._subjects: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes. Any thread may call this."""
        with self._lock:
            if record.levelno < logging.WARNING:
                self._passed.clear()
                return True
            subject = record.__dict__.get("subject")
            return self._is_due(record, subject) if subject else self._is_new(record)

    def _is_new(self, record: logging.LogRecord) -> bool:
        now, text = self._now(), record.getMessage()
        if record.exc_info:
            text += repr(record.exc_info[1])
        self._passed = {
            each: at for each, at in self._passed.items() if now - at < limits.log_repeat_seconds
        }
        if text in self._passed or len(self._passed) >= self._warnings_max:
            return False
        self._passed[text] = now
        return True

    def _is_due(self, record: logging.LogRecord, subject: str) -> bool:
        now, (at, dropped) = self._now(), self._subjects.pop(subject, (-math.inf, 0))
        if now - at < limits.log_repeat_seconds:
            self._subjects[subject] = at, dropped + 1
            return False
        if len(self._subjects) >= self._warnings_max:
            del self._subjects[next(iter(self._subjects))]
        self._subjects[subject] = now, 0
        if dropped:
            record.msg = f"{record.getMessage()}; {dropped} more since the last of these lines"
            record.args = None
        return True


class ProcessLog(logging.StreamHandler[TextIO]):
    """Writes lines `crewgate PROCESS: SENTENCE` to standard error, from entry to exit."""

    def __init__(self, process: str, warnings_max: int = limits.log_warnings_max) -> None:
        super().__init__()
        self.process = process
        self._copies: list[logging.Handler] = []
        self.setFormatter(logging.Formatter(f"crewgate {process}: %(message)s"))
        self.addFilter(RepetitionFilter(warnings_max))

    def __enter__(self) -> Self:
        # The root logger also gets the warnings of other libraries.
        _ROOT.addHandler(self)
        _PROJECT.setLevel(logging.INFO)
        return self

    def __exit__(self, *raised: object) -> None:
        _PROJECT.setLevel(logging.NOTSET)
        _ROOT.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and copy records of this project to the handlers of `copied_to`."""
        super().emit(record)
        if record.name.startswith("crewgate."):
            for each in self._copies:
                each.emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore a closed or full standard error: the process goes on."""

    @contextmanager
    def copied_to(self, handler: logging.Handler) -> Iterator[None]:
        """Pass this project's records that standard error gets to `handler` as well."""
        self._copies.append(handler)
        try:
            yield
        finally:
            self._copies.remove(handler)
