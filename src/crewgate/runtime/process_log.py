"""Writes the log of a process to standard error, and limits repeated warnings.

`runtime/log_format.py` gives a line its format. Every module logs through `logging`. A process of
this project makes one `ProcessLog`; a program that embeds the library configures `logging` itself.
Warnings are limited, so that no client can fill a disk with them:

    _log.warning("the agent is unavailable: %s", why)  # the same sentence: once in 10 s
    _log.warning("%s: %s", name, why, extra={"subject": name})  # any sentence: once in 10 s
    _log.info("attached")  # always; a repeated warning after it passes again
"""

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self, TextIO

from crewgate import limits
from crewgate.runtime.log_format import LogSettings, formatter

_log = logging.getLogger(__name__)
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
    """Writes the log of the process `process` to standard error, from entry to exit.

    `runtime/log_format.py` says how a line looks. Without `settings`, the environment decides.
    Raises ConfigurationError if the environment has an unknown format or level.
    """

    def __init__(
        self,
        process: str,
        warnings_max: int = limits.log_warnings_max,
        settings: LogSettings | None = None,
    ) -> None:
        super().__init__()
        self.process = process
        self._copies: list[logging.Handler] = []
        self._hook_before = sys.excepthook
        chosen = settings or LogSettings.from_environment()
        self._level_min = chosen.level.number
        self.setFormatter(formatter(chosen, process, sys.stderr))
        self.addFilter(RepetitionFilter(warnings_max))

    def __enter__(self) -> Self:
        # The root logger also gets the warnings of other libraries.
        _ROOT.addHandler(self)
        _PROJECT.setLevel(logging.INFO)
        logging.captureWarnings(True)  # noqa: FBT003 - the standard library's signature
        self._hook_before, sys.excepthook = sys.excepthook, self._log_uncaught
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        # An exception that ends the process reaches the hook only after this exit.
        if kind is None:
            sys.excepthook = self._hook_before
        logging.captureWarnings(False)  # noqa: FBT003 - the standard library's signature
        _PROJECT.setLevel(logging.NOTSET)
        _ROOT.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and copy records of this project to the handlers of `copied_to`.

        The level holds for standard error only: the audit also keeps what is no warning.
        """
        if record.levelno >= self._level_min:
            super().emit(record)
        if record.name.startswith("crewgate."):
            for each in self._copies:
                each.emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore a closed or full standard error: the process goes on."""

    @contextmanager
    def copied_to(self, handler: logging.Handler) -> Iterator[None]:
        """Pass this project's records, also those below the level, to `handler` as well."""
        self._copies.append(handler)
        try:
            yield
        finally:
            self._copies.remove(handler)

    def _log_uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Log an exception that ends this process, in place of Python's own lines."""
        if not issubclass(kind, Exception):
            self._hook_before(kind, error, trace)
            return
        text = "an internal error ends this process"
        exception = kind, error, trace
        self.emit(_log.makeRecord(_log.name, logging.CRITICAL, "", 0, text, (), exception))
