"""What a process logs is in its audit, as events of the service."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_lines import logged

from crewgate.audit.folder import files
from crewgate.audit.log_to_audit import LogToAuditHandler
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.json_line import decode
from crewgate.core.audit.records import Record, ServiceEvent
from crewgate.runtime.process_log import ProcessLog

_LOG = logging.getLogger("crewgate.some.module")


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[AuditRecorder]:
    """The audit of a process, which logs to it too."""
    made = AuditRecorder(AuditWriter(tmp_path, "control"))
    with ProcessLog("control") as log, log.copied_to(LogToAuditHandler("control", made)):
        yield made
    made.close()


def details(folder: Path) -> list[str]:
    """Of the events, in order."""
    lines = [line for path in files(folder) for line in path.read_bytes().splitlines()]
    found: list[Record] = [decode(line) for line in lines]
    assert all(isinstance(each, ServiceEvent) and each.event == "control" for each in found)
    return [each.detail for each in found if isinstance(each, ServiceEvent)]


@pytest.mark.usefixtures("sink")
def test_a_sentence_is_an_event(tmp_path: Path) -> None:
    """At once, and no more often than on standard error."""
    _LOG.info("serving %s", "here")
    for _ in range(3):
        _LOG.warning("the agent is away")
    assert details(tmp_path) == ["serving here", "the agent is away"]


def test_what_another_thread_logs_is_written_by_the_audits_own(
    sink: AuditRecorder, tmp_path: Path
) -> None:
    """At its next tick: a writer is for one thread."""
    thread = threading.Thread(target=_LOG.info, args=("renewed",))
    thread.start()
    thread.join()
    assert details(tmp_path) == []
    sink.tick()
    assert details(tmp_path) == ["renewed"]


def test_what_another_thread_logged_last_is_written_at_the_end(tmp_path: Path) -> None:
    """There is no next tick then."""
    writer = AuditWriter(tmp_path, "control")
    with ProcessLog("control") as log, log.copied_to(LogToAuditHandler("control", writer)):
        thread = threading.Thread(target=_LOG.info, args=("renewed",))
        thread.start()
        thread.join()
    writer.close()
    assert details(tmp_path) == ["renewed"]


@pytest.mark.usefixtures("sink")
def test_tracebacks_and_the_audits_own_trouble_are_no_events(tmp_path: Path) -> None:
    """An event is one sentence; and what cannot be written cannot be said in what is written."""
    with logged() as lines:
        _LOG.error("an error of ours", exc_info=KeyError("x"))
        logging.getLogger("crewgate.audit.writer").warning("cannot write")
    assert len(lines) == 2
    assert details(tmp_path) == []
