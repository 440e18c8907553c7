"""What a process says is bounded, and what is news is said at once."""

import io
import logging
import os
import sys
import threading

import pytest
from log_lines import logged

from crewgate import limits
from crewgate.runtime.process_log import ProcessLog, RepetitionFilter

_LOG = logging.getLogger("crewgate.some.module")


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repetitions(clock: Clock) -> RepetitionFilter:
    return RepetitionFilter(now=clock)


def test_two_warnings_that_alternate_are_written_once_each(
    repetitions: RepetitionFilter, clock: Clock
) -> None:
    """Each is a repetition, whatever stands between; later it is written again."""
    both = ["the agent is away", "the disk is full"]
    with logged(repetitions) as lines:
        for _ in range(5):
            for text in both:
                _LOG.warning(text)
        assert lines == both
        clock.now += limits.log_repeat_seconds
        for text in both:
            _LOG.warning(text)
    assert lines == both * 2


def test_there_is_an_end_to_new_warnings(repetitions: RepetitionFilter, clock: Clock) -> None:
    """A client that can put a number into one fills no log."""
    with logged(repetitions) as lines:
        for number in range(10 * limits.log_warnings_max):
            _LOG.warning("peer %d", number)
        assert len(lines) == limits.log_warnings_max
        clock.now += limits.log_repeat_seconds
        _LOG.warning("peer %d", 7)
    assert len(lines) == limits.log_warnings_max + 1


def test_news_is_always_written(repetitions: RepetitionFilter) -> None:
    """Also again, also beyond the bound; and a warning after it is no repetition."""
    with logged(repetitions) as lines:
        for number in range(2 * limits.log_warnings_max):
            _LOG.warning("peer %d", number)
        lines.clear()
        for _ in range(2):
            _LOG.warning("the agent is away")
            _LOG.warning("the agent is away")
            _LOG.info("attached")
    assert lines == ["attached", "the agent is away", "attached"]


def test_of_one_subject_the_first_is_written_and_the_others_are_counted(
    repetitions: RepetitionFilter, clock: Clock
) -> None:
    """A storm of failures is a line in ten seconds, whatever each of them says."""
    with logged(repetitions) as lines:
        for step in range(100):
            clock.now = 1000.0 + step * limits.log_repeat_seconds / 99
            _LOG.warning("tools: failure %d", step, extra={"subject": "tools"})
        _LOG.warning("others: a failure", extra={"subject": "others"})
    assert lines == [
        "tools: failure 0",
        "tools: failure 99; 98 more since the last of these lines",
        "others: a failure",
    ]


def test_of_subjects_a_bounded_number_is_remembered(repetitions: RepetitionFilter) -> None:
    """The one that was written about longest ago is forgotten first."""
    for number in range(2 * limits.log_warnings_max):
        record = logging.LogRecord("crewgate.x", logging.WARNING, "", 1, "a failure", None, None)
        record.__dict__["subject"] = str(number)
        assert repetitions.filter(record)
    assert len(repetitions._subjects) == limits.log_warnings_max


def test_tracebacks_of_different_errors_are_no_repetitions(
    repetitions: RepetitionFilter,
) -> None:
    """The sentence before them is the same each time."""
    with logged(repetitions) as lines:
        for error in (KeyError("a"), KeyError("b"), KeyError("a")):
            _LOG.error("a request ended by an error of ours", exc_info=error)
    assert len(lines) == 2


def test_threads_may_log_at_once(repetitions: RepetitionFilter) -> None:
    """No warning is written twice, and none ends a thread."""

    def log() -> None:
        for number in range(200):
            _LOG.warning("peer %d", number % 20)

    with logged(repetitions) as lines:
        threads = [threading.Thread(target=log) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(lines) == sorted({f"peer {number}" for number in range(20)})


def test_a_line_names_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Our own news, and warnings of other libraries; nothing after the end."""
    other = logging.getLogger("another.library")
    with ProcessLog("agent"):
        _LOG.info("serving")
        other.info("details")
        other.warning("deprecated")
    _LOG.info("nobody reads this")
    said = [line.partition("Z ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == ["INFO agent: serving", "WARNING agent: deprecated"]


def test_a_copy_has_the_same_lines_and_ends_with_its_context(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It gets what this project logs, and no more often than standard error."""
    texts: list[str] = []

    class Copy(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    with ProcessLog("agent") as log:
        with log.copied_to(Copy()):
            for _ in range(2):
                _LOG.warning("the agent is away")
            logging.getLogger("another.library").warning("deprecated")
        _LOG.info("ended")
    assert texts == ["the agent is away"]
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_reader_of_the_log_that_has_gone_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`crewgate serve 2>&1 | tee log`: Ctrl-C ends tee first, and then the gateway drains."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1, closefd=False) as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        with ProcessLog("serve"):
            _LOG.info("draining")
            _LOG.info("and more")
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # what it holds back goes there
    os.close(writing)


def test_a_standard_error_that_is_closed_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the shell's `2>&-`, and what closes it later."""
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    with ProcessLog("serve"):
        _LOG.info("draining")
