"""The newest alerts of a machine: those that were sent, and those that its audit makes."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from alert_fakes import add, alert
from audit_records import CHILD, NOON, ROOT, deny, permit, rule_step

from crewgate import limits
from crewgate.alerts.local_machine import LocalMachine
from crewgate.alerts.outbox import AlertOutbox
from crewgate.alerts.recent_report import newest
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import Record
from crewgate.ipc.answer_parts import AlertsPart
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.machine_messages import AlertsQuestion
from crewgate.ipc.machine_messages import encode as packed

WALL = NOON.timestamp() + 60


def write(folder: Path, records: Sequence[Record], name: str = "agent") -> None:
    folder.mkdir(exist_ok=True)
    lines = b"".join(map(encode, records))
    (folder / f"{name}-20261124T120000.000000Z.jsonl").write_bytes(lines)


@pytest.fixture
def local(tmp_path: Path) -> LocalMachine:
    return LocalMachine("gw-1", tmp_path / "crewgate.toml", tmp_path / "state")


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def step(second: int, branch: str = CHILD) -> Record:
    return rule_step(second, branch, "researcher", "loops", "warn", second)


def test_records_of_all_files_are_alerts_the_newest_first(local: LocalMachine, audit: Path) -> None:
    """Calls are none, except the first one of a branch without credits."""
    exhausted = [
        deny(n, CHILD, "researcher", "search.web", "credits-exhausted", level=CHILD)
        for n in (5, 6, 7)
    ]
    write(audit, [step(3), permit(4, ROOT, "lead", "search.web", 1)])
    write(audit, [*exhausted, step(9, ROOT)], "worker-0")
    found = newest(local, audit, 9, WALL)
    assert [(each.type, each.timestamp - NOON) for each in found] == [
        ("rule", timedelta(seconds=9)),
        ("branch-credits", timedelta(seconds=5)),
        ("rule", timedelta(seconds=3)),
    ]
    assert [each.type for each in newest(local, audit, 1, WALL)] == ["rule"]
    assert newest(local, audit, 9, WALL + limits.member_alert_seconds) == []


def test_an_alert_that_was_sent_is_the_one_that_is_told(local: LocalMachine, audit: Path) -> None:
    """A link from a receiver finds it, and it is told once."""
    write(audit, [step(3)])
    (made,) = newest(local, audit, 9, WALL)
    sent = msgspec.structs.replace(made, link="https://crewgate.example/#/alerts")
    with AlertOutbox(local.state) as outbox:
        add(outbox, sent, alert(1, timestamp=NOON), name="a")
        add(outbox, alert(1, timestamp=NOON), name="b")
    found = newest(local, audit, 9, WALL)
    assert found == [sent, alert(1, timestamp=NOON)]


def test_of_large_files_the_end_is_read(
    local: LocalMachine, audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the middle of a line on, and of no more than so many bytes."""
    write(audit, [step(n, ROOT if n % 2 else CHILD) for n in range(20)])
    size = (audit / "agent-20261124T120000.000000Z.jsonl").stat().st_size
    monkeypatch.setattr(limits, "member_alert_file_bytes_max", size // 20 + 10)
    assert [each.timestamp for each in newest(local, audit, 9, WALL)] == [
        NOON + timedelta(seconds=19)
    ]


def ask(local: LocalMachine, audit: Path, question: bytes) -> subprocess.CompletedProcess[bytes]:
    arguments = [local.name, local.path, local.state, audit]
    command = [sys.executable, "-m", "crewgate.alerts.recent_report", *map(str, arguments)]
    return subprocess.run(command, input=question, capture_output=True, check=False)


def test_a_process_answers_in_pages(local: LocalMachine, audit: Path) -> None:
    """Without an audit and without receivers, with none; a bad question is one line."""
    done = ask(local, audit, packed(AlertsQuestion()))
    (page,) = FrameDecoder().feed(done.stdout)
    assert msgspec.msgpack.decode(page, type=AlertsPart) == AlertsPart([])
    with AlertOutbox(local.state) as outbox:
        add(outbox, *(alert(n, timestamp=NOON + timedelta(seconds=n)) for n in range(25)))
    pages = list(FrameDecoder().feed(ask(local, audit, packed(AlertsQuestion(limit=24))).stdout))
    assert max(map(len, pages)) <= limits.member_page_bytes_max
    found = [row for page in pages for row in msgspec.msgpack.decode(page, type=AlertsPart).rows]
    assert [msgspec.json.decode(row)["text"] for row in found] == [
        f"number {n}" for n in range(24, 0, -1)
    ]
    done = ask(local, audit, b"nonsense")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


def test_the_largest_alert_fits_a_page() -> None:
    """Ten of them with the longest texts, and whatever is longer is left out."""
    largest = limits.member_alert_bytes_max * limits.member_alerts_page_max
    assert largest + 1024 <= limits.member_page_bytes_max
