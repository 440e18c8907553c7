"""A power loss takes no more of the audit than the configuration says."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from audit_fakes import Clock, Disk, Later, at_once, make_event, opening

from crewgate import limits
from crewgate.audit.folder import files
from crewgate.audit.health import audit_fact
from crewgate.audit.syncer import FileSyncer
from crewgate.audit.writer import AuditWriter, RotationPolicy
from crewgate.core.audit.json_line import decode
from crewgate.core.audit.records import ServiceEvent
from crewgate.core.health import HealthState

Make = Callable[..., AuditWriter]


class Platter:
    """What a disk has of each file, as its last sync left it."""

    def __init__(self) -> None:
        self.has: dict[int, int] = {}
        self.refuses = False

    def __call__(self, descriptor: int) -> None:
        if self.refuses:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        status = os.fstat(descriptor)
        self.has[status.st_ino] = status.st_size

    def lacks(self, folder: Path) -> int:
        """Bytes that a loss of power would take."""
        found = [path.stat() for path in files(folder)]
        return sum(each.st_size - self.has.get(each.st_ino, 0) for each in found)


@pytest.fixture
def platter(monkeypatch: pytest.MonkeyPatch) -> Platter:
    found = Platter()
    monkeypatch.setattr(os, "fdatasync", found)
    return found


@pytest.fixture
def make(tmp_path: Path, clock: Clock, disk: Disk, platter: Platter) -> Make:
    made = partial(
        AuditWriter, tmp_path / "audit", "worker-1", reserved_bytes=0,
        now_ns=clock, write=disk,
    )  # fmt: skip

    def make(rotation: RotationPolicy, run: Callable[..., None] = at_once) -> AuditWriter:
        return opening(made(rotation), run)

    return make


def test_each_line_is_on_the_disk_when_write_returns(
    make: Make, platter: Platter, tmp_path: Path
) -> None:
    """Where the configuration says so; one that is not counts as lost."""
    writer = make(RotationPolicy(sync="each"))
    for word in ("one", "two"):
        assert writer.write(make_event(word))
        assert platter.lacks(tmp_path / "audit") == 0
    platter.refuses = True
    assert not writer.write(make_event("three"))
    assert (writer.writable, writer.lost) == (False, 1)
    platter.refuses = False
    writer.tick()
    assert writer.writable
    writer.close()


def test_a_second_s_lines_are_on_the_disk_after_one_sync(
    make: Make, platter: Platter, tmp_path: Path
) -> None:
    """Over a rotation too: the file that was left is not forgotten."""
    writer = make(RotationPolicy(bytes_max=200))
    writer._syncer._thread = NeverStarted(writer._syncer)  # type: ignore[assignment]
    for _ in range(5):
        assert writer.write(make_event("word"))
    assert len(files(tmp_path / "audit")) > 1
    assert platter.lacks(tmp_path / "audit") > 0
    writer._syncer.sync()
    assert platter.lacks(tmp_path / "audit") == 0
    assert writer.write(make_event("last"))
    writer.close()
    assert platter.lacks(tmp_path / "audit") == 0


class NeverStarted:
    """In the place of the thread: a test syncs when it wants to, and the end does."""

    def __init__(self, syncer: FileSyncer) -> None:
        self._syncer = syncer

    def join(self, _seconds: float) -> None:
        """The last sync."""
        self._syncer.sync()

    def is_alive(self) -> bool:
        """It has done that."""
        return False


def test_the_thread_syncs_within_a_second(make: Make, platter: Platter, tmp_path: Path) -> None:
    """Without anybody asking."""
    writer = make(RotationPolicy(sync="second"))
    writer._syncer._ending.wait = lambda _seconds: bool(platter.has) or done(writer)  # type: ignore[method-assign]
    assert writer.write(make_event("one"))
    thread = writer._syncer._thread
    assert thread is not None
    thread.join(30)
    assert platter.lacks(tmp_path / "audit") == 0
    writer.close()


def done(writer: AuditWriter) -> bool:
    """Not before something is to be synced."""
    while not writer._syncer._is_dirty:
        pass
    return False


def test_never_leaves_it_to_the_kernel(make: Make, platter: Platter, tmp_path: Path) -> None:
    """As it was: for who has no disk to spare."""
    writer = make(RotationPolicy(sync="never"))
    assert writer.write(make_event("one"))
    writer.close()
    assert platter.has == {}


def test_lines_that_the_disk_refused_are_counted_and_said(
    make: Make, platter: Platter, tmp_path: Path
) -> None:
    """Calls wait or go on as the configuration says, and a new file begins with the count."""
    writer = make(RotationPolicy(sync="second"))
    writer._syncer._thread = NeverStarted(writer._syncer)  # type: ignore[assignment]
    assert writer.write(make_event("safe"))
    writer._syncer.sync()
    for word in ("one", "two"):
        assert writer.write(make_event(word))
    platter.refuses = True
    writer._syncer.sync()
    platter.refuses = False
    lost = []
    writer.tick()
    lost.append(writer.lost)
    writer.tick()
    assert (lost, writer.writable) == ([2], True)
    last = files(tmp_path / "audit")[-1].read_bytes().splitlines()[-1]
    record = decode(last)
    assert isinstance(record, ServiceEvent)
    assert (record.event, record.count) == ("audit-recovered", 2)
    writer.close()


class Stuck:
    """A disk that does not answer until it is let go."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()

    def __call__(self, _descriptor: int) -> None:
        self.asked.set()
        self.answers.wait()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    """It is let go in the end."""
    found = Stuck()
    monkeypatch.setattr(os, "fdatasync", found)
    yield found
    found.answers.set()


def test_a_disk_that_does_not_answer_holds_up_no_line_and_no_rotation(
    tmp_path: Path, clock: Clock, stuck: Stuck
) -> None:
    """The thread waits for it alone; health says so after a bound, and not before."""
    moment = [0.0]
    rotation = RotationPolicy(bytes_max=200)
    made = AuditWriter(tmp_path, "worker-1", rotation, reserved_bytes=0, now_ns=clock)
    writer = opening(made, at_once)
    writer._syncer._now = lambda: moment[0]
    assert writer.write(make_event("one"))
    syncing = threading.Thread(target=writer._syncer.sync)
    syncing.start()
    stuck.asked.wait()
    for word in ("two", "three", "four"):
        assert writer.write(make_event(word))
    writer.tick()
    assert len(files(tmp_path)) > 1
    moment[0] = limits.audit_late_seconds_max
    assert audit_fact("audit", writer, refuses=True).state is HealthState.OK
    moment[0] += 1
    fact = audit_fact("audit", writer, refuses=True)
    assert (fact.state, fact.refuses) == (HealthState.DEGRADED, False)
    assert "the disk has not answered for 4 s" in fact.why
    stuck.answers.set()
    syncing.join()
    assert audit_fact("audit", writer, refuses=True).state is HealthState.OK
    writer.close()


def test_a_file_that_does_not_come_is_said(make: Make, clock: Clock) -> None:
    """The disk does not give it a name."""
    later = Later()
    writer = make(RotationPolicy(seconds_max=60), run=later)
    moment = [0.0]
    writer._next._now = lambda: moment[0]
    clock.forward(60)
    writer.tick()
    moment[0] = limits.audit_late_seconds_max + 1
    assert audit_fact("audit", writer, refuses=True).state is HealthState.DEGRADED
    later.do()
    writer.tick()
    assert audit_fact("audit", writer, refuses=True).state is HealthState.OK
    writer.close()


def test_an_end_waits_for_the_disk_for_a_bounded_time(
    tmp_path: Path, stuck: Stuck, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    """Then it says what a power loss would take."""
    monkeypatch.setattr(limits, "audit_end_seconds_max", 0.0)
    writer = AuditWriter(tmp_path, "worker-1", reserved_bytes=0)
    assert writer.write(make_event("one"))
    writer.close()
    assert "has not synced the last lines" in log_lines[-1]
    stuck.answers.set()
