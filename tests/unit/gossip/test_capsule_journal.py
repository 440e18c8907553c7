"""What was appended is there after any crash, and what a crash tore takes nothing with it."""

import errno
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from unittest.mock import Mock

import pytest
from gossip_capsules import capsule
from gossip_world import WALL
from hypothesis import given
from hypothesis import strategies as st
from small_disk import failing_disk, on_a_small_disk, why_no_small_disk

from crewgate import limits
from crewgate.core.gossip.capsules import decode, expires_of
from crewgate.gossip.capsule_journal import CapsuleJournal, records

HOUR = limits.capsule_file_seconds
SUPPORT = str(Path(__file__).parents[2] / "support")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def log(tmp_path: Path, said: list[str]) -> Iterator[CapsuleJournal]:
    made = CapsuleJournal(tmp_path / "capsules", said.append)
    yield made
    made.close()


def append(log: CapsuleJournal, *numbers: int, life: int = 10 * HOUR) -> list[bytes]:
    """Some capsules."""
    made = [capsule(number, life=life) for number in numbers]
    for each in made:
        log.append([each.raw])
    return [each.raw for each in made]


def files(log: CapsuleJournal) -> list[Path]:
    """What it has on the disk."""
    return sorted(log._folder.iterdir())


def test_what_was_appended_is_replayed(log: CapsuleJournal, said: list[str]) -> None:
    """By span of expiry, within one in order; also by the next process, which goes on."""
    late = append(log, 1, 2, 3)
    soon = append(log, 4, life=HOUR)
    log.sync()
    assert list(log.replay(WALL)) == soon + late
    another = CapsuleJournal(log._folder, said.append)
    late += append(another, 5)
    another.close()
    assert list(log.replay(WALL)) == soon + late
    assert said == []


def test_what_another_thread_is_writing_is_waited_for(
    log: CapsuleJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or this machine would count, after a loss of power, for what it has lost."""
    fsync, done = os.fsync, list[str]()

    def second() -> None:
        log.sync()
        done.append("second")

    other = Thread(target=second)

    def slow(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        other.start()
        other.join(0.1)
        fsync(descriptor)
        done.append("first")

    append(log, 1)
    monkeypatch.setattr(os, "fsync", slow)
    log.sync()
    other.join()
    assert done == ["first", "second"]


def test_what_is_over_goes_as_a_file(log: CapsuleJournal) -> None:
    """And is not replayed before it has gone."""
    append(log, 1, life=HOUR)
    late = append(log, 2)
    assert list(log.replay(WALL + 3 * HOUR)) == late
    assert len(files(log)) == 2
    log.drop(WALL + 3 * HOUR)
    assert len(files(log)) == 1
    log.sync()
    log.drop(WALL + 30 * HOUR)
    assert files(log) == []
    assert append(log, 3, life=40 * HOUR) == list(log.replay(WALL))


class Slow(BytesIO):
    """A file of which no more than so much is read at once."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(self._most, size or 0))


def found_in(data: bytes, most: int) -> list[bytes]:
    return list(records(Slow(data, most)))


PIECES = st.integers(1, 3000)


@given(st.data(), PIECES)
def test_a_torn_or_damaged_file_loses_only_what_was_hit(data: st.DataObject, most: int) -> None:
    """Bytes turned, cut off, or put between: every record that is whole is found."""
    raws = [capsule(number).raw for number in range(1, 6)]
    whole = b"".join(_record(raw) for raw in raws)
    size = len(whole) // 5
    kind = data.draw(st.sampled_from(["cut", "turn", "insert"]))
    at = data.draw(st.integers(0, len(whole) - 1))
    if kind == "cut":
        assert found_in(whole[:at], most) == raws[: at // size]
        return
    if kind == "insert":
        junk = data.draw(st.binary(min_size=1, max_size=40))
        damaged, hit = whole[:at] + junk + whole[at:], at // size if at % size else -1
    else:
        damaged = whole[:at] + bytes((whole[at] ^ 0x55,)) + whole[at + 1 :]
        hit = at // size
    assert found_in(damaged, most) == [raw for n, raw in enumerate(raws) if n != hit]


@given(st.integers(1, 4), st.integers(0, 1300), PIECES)
def test_what_is_within_a_capsule_is_none(count: int, gap: int, most: int) -> None:
    """Though it looks like one, and wherever a piece ends: an origin chooses what it signs."""
    inner = struct.pack(">4sHI", b"\xc4cap", 40, zlib.crc32(bytes(40))) + bytes(40)
    raws = [capsule(number).raw[: -len(inner)] + inner for number in range(1, count + 1)]
    assert found_in(bytes(gap).join(map(_record, raws)) + bytes(gap), most) == raws


@cache
def _record(raw: bytes) -> bytes:
    with TemporaryDirectory() as folder:
        log = CapsuleJournal(Path(folder), print)
        assert log.append([raw]) == [raw]
        log.close()
        [path] = Path(folder).iterdir()
        return path.read_bytes()


def test_after_a_tear_it_goes_on(log: CapsuleJournal, said: list[str]) -> None:
    """A process was killed, or its power lost, in the middle of a record."""
    first = append(log, 1, 2)
    [path] = files(log)
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 7)
    after = append(log, 3)
    assert list(log.replay(WALL)) == [first[0], *after]
    assert said == []


FULL = """
import sys
from pathlib import Path
from gossip_capsules import capsule
from gossip_world import WALL
from crewgate.gossip.capsule_journal import CapsuleJournal
said, written = [], []
log = CapsuleJournal(Path(sys.argv[1]) / "capsules", said.append)
for number in range(1, 20_000):
    made = capsule(number)
    log.append([made.raw])
    if log.incomplete:
        break
    written.append(made.raw)
made = capsule(99_999)
log.append([made.raw])
assert list(log.replay(WALL)) == written, len(written)
assert len(said) == 1, said
print(said[0])
"""


@pytest.mark.skipif(bool(why_no_small_disk()), reason=why_no_small_disk())
def test_a_full_disk_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was written before is there."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([SUPPORT, *sys.path]))
    done = on_a_small_disk(tmp_path, FULL)
    assert done.returncode == 0, done.stderr
    assert "but not on this disk" in done.stdout


def test_what_found_no_room_is_written_when_there_is_some(
    log: CapsuleJournal, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But what is over by then; and the log is complete once the disk has it, not before."""
    first = append(log, 1)
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        patch.setattr(os, "write", Mock(side_effect=full))
        late, over = append(log, 2), append(log, 3, life=HOUR)
        assert log.retry(WALL) == []
        assert log.incomplete
    now = expires_of(over[0]) + HOUR
    assert log.retry(now) == late
    assert log.incomplete
    log.sync()
    log.synced()
    assert (log.incomplete, log.retry(now)) == (False, [])
    assert sorted(log.replay(WALL)) == sorted(first + late)
    refused, mended = said
    assert "No space left on device" in refused
    assert mended.endswith("all revocations are on this disk again")


def test_what_a_sync_refused_is_written_anew(log: CapsuleJournal, said: list[str]) -> None:
    """A disk that goes on refusing is said once."""
    raws = append(log, 1, 2)
    for _ in range(3):
        log.lose(raws, "Input/output error")
        assert log.retry(WALL) == raws
    assert (len(said), log.incomplete) == (1, True)
    log.synced()
    assert not log.incomplete


def test_no_origin_fills_the_descriptors(
    log: CapsuleJournal, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By capsules that end in so many hours; all of them are kept, on the disk as ever."""
    monkeypatch.setattr(limits, "capsule_files_max", 3)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for turn in range(2):
        for number in range(1, 8):
            append(log, number + 10 * turn, life=number * 2 * HOUR)
            assert len(log._open) <= 3
    log.sync()
    assert len(synced) >= 14
    assert len(files(log)) == 7
    assert len(list(log.replay(WALL))) == 14
    assert (said, log.incomplete) == ([], False)


SCRIPT = """
import sys
from pathlib import Path
from gossip_capsules import capsule
from crewgate.gossip.capsule_journal import CapsuleJournal
log = CapsuleJournal(Path(sys.argv[1]), print)
for number in range(1, 10**6):
    made = capsule(number)
    log.append([made.raw])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_what_was_acknowledged_outlives_a_sigkill(tmp_path: Path) -> None:
    """Whenever it comes: each that was said to be appended is there."""
    for turn in range(20):
        folder = tmp_path / str(turn)
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([SUPPORT, *sys.path])},
        ) as process:
            assert process.stdout is not None
            for _ in range(20 + 17 * turn):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            said = 20 + 17 * turn + len(process.stdout.read().splitlines())
        log = CapsuleJournal(folder, print)
        found = [decode(raw).number for raw in log.replay(WALL)]
        log.close()
        assert found[: said - 1] == list(range(1, said))


def test_another_disk_in_the_place_of_one_that_failed_is_written_to(
    log: CapsuleJournal, said: list[str]
) -> None:
    """A file that refused a write is opened anew; what was not synced is appended there too."""
    folder = log._folder
    kept = append(log, 1)
    log.sync()
    lost = append(log, 2)
    with failing_disk():
        assert log.append([capsule(3, life=10 * HOUR).raw]) == []
    log.lose(lost, "Input/output error")
    folder.rename(folder.with_name("failed"))
    folder.mkdir()
    written = log.retry(WALL)
    log.sync()
    log.synced()
    assert sorted(written) == sorted([*lost, capsule(3, life=10 * HOUR).raw])
    assert sorted(log.replay(WALL)) == sorted(written)
    assert kept[0] not in written
    assert said[-1].endswith("all revocations are on this disk again")
