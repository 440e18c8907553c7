"""How a line of the log looks, for a person, for journald and for a program."""

import io
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from crewgate import limits
from crewgate.errors import ConfigurationError
from crewgate.runtime.log_format import (
    FORMAT_VARIABLE,
    LEVEL_VARIABLE,
    HumanFormatter,
    JSONFormatter,
    LogFormat,
    LogLevel,
    LogSettings,
    formatter,
    is_journal,
)
from crewgate.runtime.process_log import ProcessLog

_LOG = logging.getLogger("crewgate.some.module")
BEFORE = "2026-11-29T12:00:00.123Z WARNING agent: "


def record(message: object, error: Exception | None = None) -> logging.LogRecord:
    """A warning of one moment; `error` has a traceback."""
    exception = None
    if error is not None:
        try:
            raise error
        except type(error) as raised:
            exception = (type(raised), raised, raised.__traceback__)
    found = logging.LogRecord(_LOG.name, logging.WARNING, "", 1, message, (), exception)
    found.created = 1_795_953_600.1234
    return found


def test_a_line_for_a_person_has_time_level_process_and_sentence() -> None:
    lines = HumanFormatter("agent", is_journal=False).format(record("the ledger is away"))
    assert lines == BEFORE + "the ledger is away"


def test_each_line_of_a_record_begins_alike_and_none_can_be_forged() -> None:
    """Further lines are indented; a carriage return and an escape sequence break no line."""
    text = f"two mistakes\n{BEFORE}forged\rback \x1b[2J \\n \u2028end"
    lines = HumanFormatter("agent", is_journal=False).format(record(text)).split("\n")
    assert lines == [
        BEFORE + "two mistakes",
        BEFORE + "  " + BEFORE + "forged\\rback \\x1b[2J \\n \\u2028end",
    ]
    traced = HumanFormatter("agent", is_journal=False).format(record("x", KeyError("a\nb")))
    first, *others = traced.splitlines()
    assert first == BEFORE + "x"
    assert len(others) > 2
    assert all(line.startswith(BEFORE + "  ") for line in others)
    assert others[-1].endswith(r"KeyError: 'a\nb'")


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
    ],
)
def test_journald_gets_the_severity_of_each_line_and_no_time(level: int, severity: int) -> None:
    """As syslog(3) counts."""
    found = record("one\ntwo")
    found.levelno = level
    lines = HumanFormatter("agent", is_journal=True).format(found)
    assert lines == f"<{severity}>agent: one\n<{severity}>agent:   two"
    line = JSONFormatter("agent", is_journal=True).format(found)
    assert line.startswith(f'<{severity}>{{"time": ')


def test_a_json_line_is_one_object_with_the_error() -> None:
    """Also with line feeds, and with a file name that is no UTF-8."""
    line = JSONFormatter("worker-0", is_journal=False).format(record("a\nb\udcff", OSError("no")))
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert found.pop("traceback").startswith("Traceback (most recent call last):\n")
    assert found == {
        "time": "2026-11-29T12:00:00.123Z",
        "level": "warning",
        "process": "worker-0",
        "pid": os.getpid(),
        "logger": "crewgate.some.module",
        "message": "a\nb\udcff",
        "error": "OSError('no')",
    }


def test_a_record_is_bounded() -> None:
    """Of a traceback, the end is kept: it has the error."""
    message = "m" * (limits.log_message_chars_max + 7)
    error = ValueError("v" * limits.log_traceback_chars_max + " last")
    for kind, ellipsis in ((HumanFormatter, "…"), (JSONFormatter, "\\u2026")):
        line = kind("agent", is_journal=False).format(record(message, error))
        assert f"m{ellipsis} (7 more characters)" in line
        assert "characters before) " in line
        assert " last" in line
        bound = 2 * limits.log_message_chars_max + limits.log_traceback_chars_max
        assert len(line) < bound + 1_000


@pytest.fixture
def streams() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket as journald's, and another one."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_journald_is_known_by_the_device_and_inode_of_the_stream(
    streams: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell can redirect the stream, and then the variable names another socket."""
    journal, other = streams
    found = os.fstat(journal.fileno())
    with journal.makefile("w") as ours, other.makefile("w") as redirected:
        assert not is_journal(ours)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert is_journal(ours)
        assert formatter(LogSettings(), "agent", ours).format(record("x")) == "<4>agent: x"
        assert not is_journal(redirected)
        assert not is_journal(io.StringIO())
        assert not is_journal(None)


def test_an_unknown_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (FORMAT_VARIABLE, LEVEL_VARIABLE):
        monkeypatch.setenv(name, "")  # monkeypatch then removes what `export` sets
    LogSettings(LogFormat.JSON, LogLevel.WARNING).export()
    assert LogSettings.from_environment() == LogSettings(LogFormat.JSON, LogLevel.WARNING)
    monkeypatch.setenv(FORMAT_VARIABLE, "xml")
    with pytest.raises(ConfigurationError, match=f"{FORMAT_VARIABLE}.*'xml'.*human and json"):
        ProcessLog("agent")


def test_the_level_holds_for_standard_error_and_not_for_copies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The audit keeps what happened, whatever a person wants to read."""
    texts: list[str] = []

    class Copy(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    settings = LogSettings(level=LogLevel.WARNING)
    with ProcessLog("agent", settings=settings) as log, log.copied_to(Copy()):
        _LOG.info("serving")
        _LOG.warning("the disk is full")
    assert texts == ["serving", "the disk is full"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" WARNING agent: the disk is full")


def test_an_error_that_ends_the_process_is_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Python calls the hook after every context has ended."""
    before = sys.excepthook
    log = ProcessLog("agent", settings=LogSettings(LogFormat.JSON))
    error = KeyError("x")
    try:
        with pytest.raises(KeyError), log:
            raise error
        sys.excepthook(KeyError, error, error.__traceback__)
    finally:
        sys.excepthook = before
    found = json.loads(capsys.readouterr().err)
    assert (found["level"], found["error"]) == ("critical", "KeyError('x')")
    assert found["message"] == "an internal error ends this process"
    assert "in test_an_error_that_ends" in found["traceback"]
