"""A power loss takes no more of the audit than the configuration says."""

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from audit_fakes import Clock, Disk, make_event

from crewgate.audit.folder import files
from crewgate.audit.writer import Rotation, Writer
from crewgate.core.line import decode
from crewgate.core.record import Event

Make = Callable[..., Writer]


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
    return partial(
        Writer, tmp_path / "audit", "worker-1", ballast_bytes=0, complain=lambda _: None,
        now_ns=clock, write=disk,
    )  # fmt: skip


def test_each_line_is_on_the_disk_when_write_returns(
    make: Make, platter: Platter, tmp_path: Path
) -> None:
    """Where the configuration says so; one that is not counts as lost."""
    writer = make(Rotation(sync="each"))
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
    writer = make(Rotation(bytes_max=200))
    writer._syncer._thread = NeverStarted()  # type: ignore[assignment]
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
    """In the place of the thread: a test syncs when it wants to."""


def test_the_thread_syncs_within_a_second(make: Make, platter: Platter, tmp_path: Path) -> None:
    """Without anybody asking."""
    writer = make(Rotation(sync="second"))
    writer._syncer._ending.wait = lambda _seconds: not platter.has and done(writer)  # type: ignore[method-assign]
    assert writer.write(make_event("one"))
    thread = writer._syncer._thread
    assert thread is not None
    thread.join(30)
    assert platter.lacks(tmp_path / "audit") == 0
    writer.close()


def done(writer: Writer) -> bool:
    """Not before something is to be synced."""
    while not writer._syncer._is_dirty:
        pass
    return False


def test_never_leaves_it_to_the_kernel(make: Make, platter: Platter, tmp_path: Path) -> None:
    """As it was: for who has no disk to spare."""
    writer = make(Rotation(sync="never"))
    assert writer.write(make_event("one"))
    writer.close()
    assert platter.has == {}


def test_lines_that_the_disk_refused_are_counted_and_said(
    make: Make, platter: Platter, tmp_path: Path
) -> None:
    """Calls wait or go on as the configuration says, and a new file begins with the count."""
    writer = make(Rotation(sync="second"))
    writer._syncer._thread = NeverStarted()  # type: ignore[assignment]
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
    assert isinstance(record, Event)
    assert (record.event, record.count) == ("audit-recovered", 2)
    writer.close()
