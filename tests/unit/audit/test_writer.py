"""What `write` reports as written is in the file; what is lost is counted and said."""

import errno
import json
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from audit_fakes import Clock, Disk, Later, at_once, make_event, opening
from hypothesis import given
from hypothesis import strategies as st
from log_lines import logged

from crewgate.audit import folder
from crewgate.audit.folder import files
from crewgate.audit.writer import AuditWriter, RotationPolicy
from crewgate.core.audit.json_line import decode, encode
from crewgate.core.audit.records import Record, ServiceEvent, when
from crewgate.errors import ConfigurationError
from crewgate.runtime.process_log import RepetitionFilter

Make = Callable[..., AuditWriter]


@pytest.fixture
def log_lines(clock: Clock) -> Iterator[list[str]]:
    """What a process would write of that on standard error, by the same clock."""
    with logged(RepetitionFilter(now=lambda: clock() / 1e9)) as lines:
        yield lines


@pytest.fixture
def make(tmp_path: Path, clock: Clock, disk: Disk) -> Make:
    """Make a writer on the fake disk and clock: Clock, with a small ballast."""
    made = partial(
        AuditWriter,
        tmp_path / "audit",
        "worker-1",
        reserved_bytes=4096,
        now_ns=clock,
        write=disk,
    )

    def make(
        *given: RotationPolicy, run: Callable[..., None] = at_once, **more: object
    ) -> AuditWriter:
        return opening(made(*given, **more), run)

    return make


def records(folder: Path) -> list[Record]:
    """Every whole record of every file, in order; a line that was cut must not decode."""
    found = []
    for path in files(folder):
        for line in path.read_bytes().split(b"\n"):
            try:
                found.append(decode(line))
            except ValueError:
                assert not line.endswith(b"}") or line.count(b"{") != 1
    return found


def test_a_record_is_in_the_file_when_write_returns(make: Make) -> None:
    """No buffer stands between `write` and the kernel: another reader sees the line at once."""
    writer = make()
    assert writer.write(make_event("one"))
    assert writer.path.read_bytes().endswith(b'"detail":"one"}\n')
    assert writer.write_many([make_event("two"), make_event("three")])
    assert writer.write_lines([encode(make_event("four")), encode(make_event("five"))])
    assert writer.path.read_bytes().count(b"\n") == 5
    assert (writer.written, writer.lost, writer.writable) == (5, 0, True)
    assert writer.write_many([])
    assert writer.write_lines([])


def test_the_file_is_its_owners_alone(make: Make) -> None:
    """The log says who called what: nobody else on the machine reads it."""
    path = make().path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_full_file_gives_way_to_a_new_one(make: Make, tmp_path: Path) -> None:
    """Rotation by size neither loses nor repeats a record, and keeps every file by default."""
    writer = make(RotationPolicy(bytes_max=500))
    for number in range(50):
        assert writer.write(make_event(str(number)))
    assert len(files(tmp_path / "audit")) > 5
    assert [record.detail for record in records(tmp_path / "audit")] == [
        str(number) for number in range(50)
    ]


def test_an_old_file_gives_way_to_a_new_one(make: Make, clock: Clock) -> None:
    """Rotation by age happens at a tick, not before its time."""
    writer = make(RotationPolicy(seconds_max=60))
    first = writer.path
    clock.forward(59)
    writer.tick()
    assert writer.path == first
    clock.forward(1)
    writer.tick()
    assert writer.path != first
    assert writer.write(make_event("after"))
    assert first.read_bytes() == b""


def test_lines_go_on_until_the_next_file_is_there(make: Make, tmp_path: Path) -> None:
    """A disk that is slow to give a file a name keeps nobody waiting; one file is asked for."""
    later = Later()
    writer = make(RotationPolicy(bytes_max=200), run=later)
    first = writer.path
    for number in range(5):
        assert writer.write(make_event(str(number)))
    assert (writer.path, len(later.asked)) == (first, 1)
    later.do()
    assert writer.write(make_event("5"))
    assert writer.path != first
    assert len(files(tmp_path / "audit")) == 2
    assert [record.detail for record in records(tmp_path / "audit")] == list("012345")


def test_a_recovery_keeps_nobody_waiting(make: Make, disk: Disk) -> None:
    """Until there is a file and room, records are lost and counted."""
    later = Later()
    writer = make(run=later)
    disk.room = 0
    assert not writer.write(make_event("lost"))
    disk.room = None
    writer.tick()
    assert not writer.writable
    later.do()
    writer.tick()
    assert (writer.writable, writer.lost) == (True, 1)


def test_a_file_begun_before_the_disk_failed_proves_no_recovery(make: Make, disk: Disk) -> None:
    """The ballast has gone since, for the calls in flight, and must find room again."""
    later = Later()
    writer = make(RotationPolicy(bytes_max=200), run=later)
    for number in range(2):
        writer.write(make_event(str(number)))
    disk.room = 0
    writer.write(make_event("lost"))
    disk.room = None
    later.do()
    writer.tick()
    assert not writer.writable
    later.do()
    writer.tick()
    assert writer.writable


@pytest.mark.parametrize("is_done", [False, True])
def test_a_file_that_comes_too_late_is_taken_away(
    make: Make, tmp_path: Path, is_done: bool
) -> None:
    """Nobody would write to it."""
    later = Later()
    writer = make(RotationPolicy(bytes_max=100), run=later)
    writer.write(make_event("one"))
    if is_done:
        later.do()
    writer.close()
    later.do()
    assert files(tmp_path / "audit") == [writer.path]


def test_old_files_that_cannot_be_cleared_are_said(
    make: Make, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls go on: the lines have their file."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(folder, "prune", refuse)
    writer = make(RotationPolicy(folder_bytes_max=1000))
    assert writer.writable
    assert "cannot delete old files in" in log_lines[-1]
    assert "Permission denied" in log_lines[-1]


def test_old_files_go_only_where_a_bound_is_set(make: Make, clock: Clock, tmp_path: Path) -> None:
    """With a bound the oldest finished files are deleted; the one in use never is."""
    writer = make(RotationPolicy(bytes_max=500, folder_bytes_max=1500))
    for number in range(100):
        clock.forward(1)
        writer.write(make_event(str(number)))
    kept = records(tmp_path / "audit")
    assert [record.detail for record in kept] == [
        str(number) for number in range(100 - len(kept), 100)
    ]
    assert sum(path.stat().st_size for path in files(tmp_path / "audit")) <= 1500 + 600


def test_a_file_in_use_by_another_process_is_never_deleted(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    """Another writer's open file stays, however old and large; once it is closed, it goes."""
    other = make()
    other.write(make_event("x" * 5000))
    clock.forward(1)
    writer = make(RotationPolicy(bytes_max=500, folder_bytes_max=1000))
    for number in range(20):
        writer.write(make_event(str(number)))
    assert other.path.exists()
    other.close()
    writer.write_many([make_event(str(number)) for number in range(20)])
    assert not other.path.exists()


def test_two_writers_of_one_name_and_moment_have_two_files(make: Make) -> None:
    """A process restarted within a microsecond never shares a file with its predecessor."""
    first, second = make(), make()
    assert first.path != second.path


def test_a_deleted_folder_is_noticed(make: Make, clock: Clock, tmp_path: Path) -> None:
    """Lines do not go on into a file that nobody can find."""
    writer = make()
    writer.path.unlink()
    (tmp_path / "audit").rmdir()
    writer.tick()
    assert writer.write(make_event("here"))
    assert [record.detail for record in records(tmp_path / "audit")] == ["here"]


def test_a_full_disk_is_said_counted_and_recovered_from(
    make: Make, disk: Disk, clock: Clock, log_lines: list[str], tmp_path: Path
) -> None:
    """Lost records are counted, complained of once an interval, and recorded afterwards."""
    writer = make()
    disk.room = 0
    assert not writer.write(make_event("lost"))
    assert not writer.write_many([make_event("lost"), make_event("lost too")])
    assert not writer.write_lines([encode(make_event("lost")), encode(make_event("lost too"))])
    assert (writer.writable, writer.lost) == (False, 5)
    assert len(log_lines) == 1
    assert "No space left on device" in log_lines[0]
    clock.forward(11)
    writer.tick()
    assert not writer.writable
    assert len(log_lines) == 2
    assert "5 records lost" in log_lines[1]
    disk.room = None
    writer.tick()
    assert writer.writable
    assert writer.write(make_event("kept"))
    first, second = records(tmp_path / "audit")
    assert (first.event, first.count) == ("audit-recovered", 5)
    assert second.detail == "kept"


def test_a_disk_that_stays_full_is_not_littered(
    make: Make, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    """Each attempt to recover takes its empty file away again."""
    writer = make()
    writer.write(make_event("kept"))
    disk.room = 0
    writer.write(make_event("lost"))
    for _ in range(20):
        clock.forward(1)
        writer.tick()
    assert len(files(tmp_path / "audit")) == 1


def test_a_failing_disk_degrades_like_a_full_one(make: Make, disk: Disk) -> None:
    """An IO error is no exception on the data path either."""
    writer = make()
    disk.room, disk.failure = 0, errno.EIO
    assert not writer.write(make_event("lost"))
    assert writer.error.errno == errno.EIO


def test_the_ballast_makes_room_for_calls_in_flight(
    make: Make, disk: Disk, tmp_path: Path, log_lines: list[str]
) -> None:
    """The first failure frees the ballast: that record is written, and new calls are refused."""

    def full_once(descriptor: int, data: bytes) -> int:
        disk.room = None if calls else 0
        calls.append(len(data))
        return disk(descriptor, data)

    calls: list[int] = []
    writer = make(write=full_once)
    assert writer.write(make_event("in flight"))
    assert not writer.writable
    assert (writer.lost, len(log_lines)) == (0, 1)
    assert records(tmp_path / "audit")[0].detail == "in flight"


def test_a_folder_that_cannot_be_made_is_said_before_the_start(tmp_path: Path) -> None:
    """A wrong path in the configuration is the operator's error, not a degraded service."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"audit folder .*: Not a directory"):
        AuditWriter(tmp_path / "file" / "audit", "worker-1")


def test_a_disk_full_at_the_start_leaves_a_degraded_writer(
    make: Make, log_lines: list[str]
) -> None:
    """`serve` comes up and refuses; it does not die in a loop of restarts."""
    writer = make(reserved_bytes=2**62)
    assert not writer.writable
    assert not writer.write(make_event("lost"))
    assert len(log_lines) == 1


@pytest.mark.parametrize("process", ["", "../x", "a/b", "Worker", "a" * 65])
def test_a_process_name_is_no_path(make: Make, tmp_path: Path, process: str) -> None:
    """The name of a file is made from letters, digits and hyphens only."""
    with pytest.raises(ValueError, match="process name"):
        AuditWriter(tmp_path, process)


@given(data=st.data())
def test_room_may_end_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wherever the disk cuts, each record reported as written is there once, whole, in order."""
    folder = tmp_path_factory.mktemp("cut")
    disk, clock = Disk(), Clock()
    made = AuditWriter(folder, "w", reserved_bytes=0, now_ns=clock, write=disk)
    writer = opening(made, at_once)
    written = []
    for number in range(data.draw(st.integers(1, 6))):
        disk.room = data.draw(st.none() | st.integers(0, 400))
        batch = [f"{number}-{turn}" for turn in range(data.draw(st.integers(1, 4)))]
        before = writer.written
        writer.write_many(map(make_event, batch))
        written += batch[: writer.written - before]
        disk.room = None
        if data.draw(st.booleans()):
            writer.tick()
    found = [record.detail for record in records(folder) if record.event == "test"]
    assert found == written
    writer.close()


def test_every_line_names_the_machine(tmp_path: Path) -> None:
    """A record does, a line that native code has made, and a line about losses."""
    writer = AuditWriter(tmp_path, "w", machine="west-1", reserved_bytes=0)
    event = ServiceEvent(time=when(0), event="start")
    assert writer.write(event)
    assert writer.write_lines([encode(event), encode(event)])
    assert writer.path is not None
    lines = [json.loads(line) for line in writer.path.read_text().splitlines()]
    writer.close()
    assert [line["machine"] for line in lines] == ["west-1"] * 3
    assert [line["event"] for line in lines] == ["start"] * 3
