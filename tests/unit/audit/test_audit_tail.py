"""Which lines of the audit are read, once each, whatever happens to their files."""

import os
from pathlib import Path

import msgspec
import pytest

from crewgate import limits
from crewgate.audit.audit_tail import AuditTail, Batch
from crewgate.audit.file_progress import AuditPosition
from crewgate.export.position_file import ExportPosition, PositionFile

OLD = "worker-0-20261124T120000.000000Z.jsonl"
NEW = "worker-0-20261125T120000.000000Z.jsonl"
OTHER = "agent-20261124T130000.000000Z.jsonl"


def line(number: int) -> bytes:
    return b'{"kind":"event","time":"2026-11-24T12:00:00Z","event":"x","count":%d}\n' % number


class Reading:
    """A tail of a folder, and a clock that is a second later at each read."""

    def __init__(self, folder: Path, position: ExportPosition | None = None) -> None:
        self.now = 0.0
        self.tail = AuditTail(folder, position or ExportPosition(), lambda: self.now)

    def read(self, *, commits: bool = True) -> list[int]:
        """The numbers of the lines of the next batch."""
        self.now += limits.audit_look_seconds
        self.batch = Batch()
        self.tail.read(self.batch)
        if commits:
            self.tail.commit(self.batch)
        return [entry.record["count"] for entry in self.batch.entries]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(tmp_path)


def test_each_line_is_read_once(tmp_path: Path, reading: Reading) -> None:
    """A line that is being written is read when it is whole."""
    with (tmp_path / OLD).open("ab", 0) as file:
        file.write(line(1) + line(2)[:-5])
        assert reading.read() == [1]
        assert reading.read() == []
        file.write(line(2)[-5:] + line(3))
        assert reading.read() == [2, 3]
    assert reading.read() == []
    assert reading.tail.backlog_bytes == 0


def test_finished_files_come_first_and_no_other_file_counts(
    tmp_path: Path, reading: Reading
) -> None:
    (tmp_path / NEW).write_bytes(line(3))
    (tmp_path / OLD).write_bytes(line(1))
    (tmp_path / OTHER).write_bytes(line(2))
    (tmp_path / "notes.jsonl").write_bytes(line(9))
    assert reading.read() == [1, 2, 3]


def test_an_entry_is_known_by_its_file_and_offset(tmp_path: Path, reading: Reading) -> None:
    (tmp_path / OLD).write_bytes(line(1) + line(2))
    reading.read()
    places = [entry.uid for entry in reading.batch.entries]
    assert places == [f"/{OLD}:0", f"/{OLD}:{len(line(1))}"]


def test_a_line_that_is_no_record_is_counted(tmp_path: Path, reading: Reading) -> None:
    """The newline after a line that a full disk has cut is no second one."""
    torn = b'{"kind":"ev\n' + b"\n" + b"[]\n" + b'{"kind":1,"time":"2026-11-24T12:00:00Z"}\n'
    deep = b'{"a":' + 100_000 * b"[" + b"\n"
    other = b'{"kind":"x","time":"noon"}\n'
    (tmp_path / OLD).write_bytes(line(1) + torn + other + deep + line(2))
    assert reading.read() == [1, 2]
    assert reading.batch.unreadable == 5


def test_a_batch_is_bounded(
    tmp_path: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By records and by bytes; files that are being written share it."""
    monkeypatch.setattr(limits, "audit_batch_records_max", 4)
    (tmp_path / OLD).write_bytes(b"".join(map(line, range(10, 16))))
    (tmp_path / OTHER).write_bytes(b"".join(map(line, range(20, 26))))
    assert reading.read() == [10, 11, 20, 21]
    monkeypatch.setattr(limits, "audit_batch_records_max", 100)
    monkeypatch.setattr(limits, "audit_batch_bytes_max", 2 * len(line(10)))
    assert reading.read() == [12, 13]
    assert reading.read() == [14, 15]
    assert reading.read() == [22, 23]


def test_so_many_bytes_without_a_newline_are_skipped(
    tmp_path: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "audit_batch_bytes_max", 200)
    (tmp_path / OLD).write_bytes(b"x" * 450 + b"\n" + line(1))
    assert [reading.read() for _ in range(4)] == [[], [], [1], []]


def test_a_restart_goes_on_at_the_saved_position(tmp_path: Path, reading: Reading) -> None:
    """What was read and not sent is read again; a damaged position begins from the start."""
    audit = tmp_path / "audit"
    audit.mkdir()
    (audit / OLD).write_bytes(line(1) + line(2))
    place = PositionFile(tmp_path / "export" / "collector.position", ExportPosition)
    first = Reading(audit, place.load())
    first.read()
    place.save(first.tail.position)
    (audit / OLD).write_bytes(line(1) + line(2) + line(3))
    assert first.read(commits=False) == [3]
    place.save(first.tail.position)
    assert Reading(audit, place.load()).read() == [3]
    (tmp_path / "export" / "collector.position").write_bytes(b'{"files":')
    assert Reading(audit, place.load()).read() == [1, 2, 3]


def test_a_file_that_is_deleted_before_it_was_read_is_a_loss(
    tmp_path: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "audit_batch_records_max", 1)
    (tmp_path / OLD).write_bytes(line(1) + line(2) + line(3))
    (tmp_path / OTHER).write_bytes(line(4))
    assert reading.read() == [1]
    (tmp_path / OLD).unlink()
    assert reading.read() == [4]
    assert reading.tail.take_losses() == (2 * len(line(2)), 1)
    assert reading.tail.take_losses() == (0, 0)
    assert reading.tail.position.lost_bytes == 2 * len(line(2))
    (tmp_path / OTHER).unlink()
    assert reading.read() == []
    assert reading.tail.take_losses() == (0, 0)


def test_a_loss_while_no_process_ran_is_counted_too(tmp_path: Path) -> None:
    (tmp_path / OLD).write_bytes(line(1) + line(2))
    before = Reading(tmp_path)
    before.read(commits=False)
    saved = msgspec.json.decode(msgspec.json.encode(before.tail.position), type=ExportPosition)
    (tmp_path / OLD).unlink()
    after = Reading(tmp_path, saved)
    after.read()
    assert after.tail.take_losses() == (2 * len(line(1)), 1)


def test_a_shorter_file_is_another_one(tmp_path: Path, reading: Reading) -> None:
    (tmp_path / OLD).write_bytes(line(1) + line(2))
    assert reading.read() == [1, 2]
    os.truncate(tmp_path / OLD, 0)
    (tmp_path / OLD).write_bytes(line(3))
    assert reading.read() == [3]


def test_unwanted_lines_are_skipped_and_none_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch has as many wanted lines as it may, and moves over all others."""
    monkeypatch.setattr(limits, "audit_batch_records_max", 3)
    (tmp_path / OLD).write_bytes(b"".join(map(line, range(100))))
    now = 0.0
    tail = AuditTail(tmp_path, AuditPosition(), lambda: now, lambda text: b"7" in text)
    found: list[int] = []
    for _ in range(20):
        now += limits.audit_look_seconds
        batch = Batch()
        tail.read(batch)
        assert len(batch.entries) <= 3
        found += [entry.record["count"] for entry in batch.entries]
        tail.commit(batch)
    assert found == [number for number in range(100) if "7" in str(number)]
    assert tail.position.files[OLD].offset == (tmp_path / OLD).stat().st_size
