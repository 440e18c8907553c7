"""Formats the log lines of a process, for a person, for journald or as JSON.

Two environment variables choose the format and the lowest level. `crewgate serve` sets them from
its options, and the processes that it starts inherit them. So they hold before a configuration is
read.
"""

import enum
import json
import logging
import os
from datetime import UTC, datetime
from typing import Final, Self, TextIO

import msgspec

from crewgate import limits
from crewgate.core.terminal_text import printable_lines
from crewgate.errors import ConfigurationError

FORMAT_VARIABLE: Final = "CREWGATE_LOG_FORMAT"
LEVEL_VARIABLE: Final = "CREWGATE_LOG_LEVEL"
_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING}
# The severities of syslog(3), by the lowest level that has them.
_SEVERITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)


class LogFormat(enum.Enum):
    """The format of a log line: a sentence for a person, or a JSON object."""

    HUMAN = "human"
    JSON = "json"


class LogLevel(enum.Enum):
    """The lowest level that a process writes: every line, or only warnings and errors."""

    INFO = "info"
    WARNING = "warning"

    @property
    def number(self) -> int:
        """The level as a number of `logging`."""
        return _LEVELS[self.value]


class LogSettings(msgspec.Struct, frozen=True):
    """How the processes of a machine write their log."""

    format: LogFormat = LogFormat.HUMAN
    level: LogLevel = LogLevel.INFO

    @classmethod
    def from_environment(cls) -> Self:
        """Return the settings of this process; ConfigurationError."""
        found = {
            name: value
            for name, variable in (("format", FORMAT_VARIABLE), ("level", LEVEL_VARIABLE))
            if (value := os.environ.get(variable))
        }
        try:
            return msgspec.convert(found, cls)
        except msgspec.ValidationError as error:
            formats, levels = ([each.value for each in kind] for kind in (LogFormat, LogLevel))
            raise ConfigurationError(
                f"{FORMAT_VARIABLE} or {LEVEL_VARIABLE}: {error}; the formats are "
                f"{' and '.join(formats)}, the levels {' and '.join(levels)}"
            ) from error

    def export(self) -> None:
        """Set the variables, for this process and those that it starts."""
        os.environ[FORMAT_VARIABLE] = self.format.value
        os.environ[LEVEL_VARIABLE] = self.level.value


def formatter(settings: LogSettings, process: str, stream: TextIO | None) -> logging.Formatter:
    """Return the formatter of a process that writes to `stream`."""
    kind = HumanFormatter if settings.format is LogFormat.HUMAN else JSONFormatter
    return kind(process, is_journal=is_journal(stream))


def is_journal(stream: TextIO | None) -> bool:
    """Return whether `stream` leads to journald, which adds the time (systemd.exec(5)).

    A shell can redirect standard error after systemd has set JOURNAL_STREAM, so the variable names
    the device and the inode of the socket.
    """
    given = os.environ.get("JOURNAL_STREAM")
    if not given or stream is None:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        # The stream is closed, or it is no file.
        return False
    return given == f"{found.st_dev}:{found.st_ino}"


class HumanFormatter(logging.Formatter):
    """Writes `TIME LEVEL PROCESS: SENTENCE`; for journald, `<SEVERITY>PROCESS: SENTENCE`.

    Each further line of a sentence, and each line of a traceback, has the same beginning and then
    two blanks. So no sentence can pass for two.
    """

    def __init__(self, process: str, *, is_journal: bool) -> None:
        super().__init__()
        self._process = process
        self._is_journal = is_journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record, without the last line feed."""
        if self._is_journal:
            beginning = f"{severity_prefix(record.levelno)}{self._process}: "
        else:
            beginning = f"{_time(record)} {record.levelname} {self._process}: "
        text = _message(record)
        if traceback := _traceback(self, record):
            text += "\n" + traceback
        return beginning + printable_lines(text).replace("\n", f"\n{beginning}  ")


class JSONFormatter(logging.Formatter):
    """Writes a record as one JSON object on one line; for journald, with `<SEVERITY>` before it.

    The members are `time` (RFC 3339), `level`, `process`, `pid`, `logger` and `message`. A record
    of an exception has `error`, its type and text, and `traceback` too.
    """

    def __init__(self, process: str, *, is_journal: bool) -> None:
        super().__init__()
        self._process = process
        self._is_journal = is_journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without the line feed."""
        members: dict[str, str | int | None] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            members["error"] = _shortened(repr(record.exc_info[1]))
        if traceback := _traceback(self, record):
            members["traceback"] = traceback
        # ASCII only: a lone surrogate, such as one of a file's name, cannot be written as UTF-8.
        line = json.dumps(members, ensure_ascii=True)
        return severity_prefix(record.levelno) + line if self._is_journal else line


def severity_prefix(level: int) -> str:
    """Return the prefix by which journald knows the level of a line (sd-daemon(3))."""
    return next(f"<{number}>" for least, number in _SEVERITIES if level >= least)


def _time(record: logging.LogRecord) -> str:
    """Return when the record was made: UTC, in milliseconds, as RFC 3339 writes it."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    return _shortened(record.getMessage())


def _shortened(text: str) -> str:
    more = len(text) - limits.log_message_chars_max
    if more <= 0:
        return text
    return f"{text[: limits.log_message_chars_max]}… ({more} more characters)"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback of a record, or ""; of a long one, the end, which has the cause."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    text = formatter.formatException(record.exc_info)
    more = len(text) - limits.log_traceback_chars_max
    if more <= 0:
        return text
    return f"({more} characters before) …{text[-limits.log_traceback_chars_max :]}"
