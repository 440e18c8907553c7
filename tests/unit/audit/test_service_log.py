"""What a process says is said once, and never without bound."""

from pathlib import Path

import pytest

from crewgate import limits
from crewgate.audit.service_log import ServiceLog
from crewgate.audit.sink import AuditSink
from crewgate.audit.writer import AuditWriter, FileRotation


@pytest.fixture
def voice(tmp_path: Path) -> ServiceLog:
    return ServiceLog("control", AuditSink(AuditWriter(tmp_path, "control", FileRotation())))


def test_two_that_alternate_are_said_once_each(
    voice: ServiceLog, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is a repetition, whatever stands between."""
    for _ in range(5):
        voice.warn("the agent is away")
        voice.warn("the disk is full")
    assert capsys.readouterr().err.splitlines() == [
        "crewgate control: the agent is away",
        "crewgate control: the disk is full",
    ]


def test_there_is_an_end_to_new_sentences(
    voice: ServiceLog, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever can put a number into one fills no log."""
    for number in range(10 * limits.complaints_max):
        voice.warn(f"peer {number}")
    assert len(capsys.readouterr().err.splitlines()) == limits.complaints_max


def test_news_is_always_said(voice: ServiceLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Also again, also beyond the bound; and what comes after it is told anew."""
    for number in range(2 * limits.complaints_max):
        voice.warn(f"peer {number}")
    capsys.readouterr()
    for _ in range(2):
        voice.warn("the agent is away")
        voice.warn("the agent is away")
        voice.info("attached")
    assert capsys.readouterr().err.splitlines() == [
        "crewgate control: attached",
        "crewgate control: the agent is away",
        "crewgate control: attached",
    ]
