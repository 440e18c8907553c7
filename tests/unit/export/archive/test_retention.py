"""Retention deletes what is too old of this machine, and nothing else."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_archive import Archive
from signed_audit import Machine

from crewgate import limits
from crewgate.audit.file_part import FilePart
from crewgate.core.health import HealthState
from crewgate.errors import ReceiverError
from crewgate.export.archive.folder_store import FolderStore
from crewgate.export.archive.retention import Retention

FOLDER = "machine=gw-1/"
DAY = 86_400
NOW = datetime(2026, 12, 31, 12, tzinfo=UTC)


def named(day: int, process: str = "worker-0", begin: int = 0) -> FilePart:
    file = f"{process}-202612{day:02d}T080000.000000Z.jsonl"
    return FilePart(file, begin, begin + 10)


class Place:
    """An archive in a folder, whose clock a test sets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = NOW
        self.in_use: set[str] = set()
        self.store = FolderStore(root)

    def put(self, part: FilePart, days_ago: float | None = None) -> None:
        path = self.root / FOLDER / f"day={part.day}" / part.object_name
        self.touch(path, days_ago if days_ago is not None else 31 - int(part.day[-2:]))

    def touch(self, path: Path, days_ago: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        stored = (NOW - timedelta(days=days_ago)).timestamp()
        os.utime(path, (stored, stored))

    async def sweep(self, keep_days: int = 10) -> list[str]:
        """Delete, and return the days of the month that are left, each once for an object."""
        found = Retention(self.store, FOLDER, keep_days, self.in_use.__contains__, lambda: self.now)
        listing = await self.store.list(FOLDER)
        await found.sweep(listing._replace(now=self.now.timestamp()))
        return [path.parent.name[-2:] for path in sorted(self.root.glob("machine=*/day=*/*"))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    for day in (5, 10, 15, 20, 21, 22, 30):
        found.put(named(day))
    return found


async def test_old_days_go(place: Place) -> None:
    assert await place.sweep(10) == ["21", "22", "30"]
    assert await place.sweep(10) == ["21", "22", "30"]


async def test_a_file_goes_whole_and_after_its_last_object(place: Place) -> None:
    """A file that began long ago has lines of later days."""
    place.put(named(5, begin=10), days_ago=1)
    assert await place.sweep(10) == ["05", "05", "10", "15", "20", "21", "22", "30"]
    place.put(named(5, begin=10), days_ago=12)
    assert await place.sweep(10) == ["21", "22", "30"]


async def test_a_file_that_is_in_use_stays_with_all_that_began_later(place: Place) -> None:
    place.in_use.add(named(10).file)
    assert await place.sweep(10) == ["10", "15", "20", "21", "22", "30"]


@pytest.mark.parametrize("days", [-400, 400])
async def test_a_wrong_clock_of_the_machine_deletes_nothing_early(
    place: Place, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two clocks is behind decides."""
    listing = await place.store.list(FOLDER)
    wrong = NOW + timedelta(days=days)
    found = Retention(place.store, FOLDER, 10, lambda _: False, lambda: wrong)
    await found.sweep(listing._replace(now=NOW.timestamp()))
    left = [path.parent.name[-2:] for path in sorted(place.root.glob("machine=*/day=*/*"))]
    assert left == (["05", "10", "15", "20"] if days < 0 else []) + ["21", "22", "30"]


async def test_nothing_else_is_deleted(place: Place) -> None:
    strangers = [
        place.root / "machine=gw-2" / "day=2026-12-05" / named(5).object_name,
        place.root / FOLDER / "day=2026-12-05" / "notes.txt",
        place.root / FOLDER / "day=2026-12-05" / "other.parquet",
        place.root / FOLDER / "day=2026-12-06" / named(5).object_name,
        place.root / FOLDER / "2026-12-05" / named(5).object_name,
        place.root / "notes.txt",
    ]
    for path in strangers:
        place.touch(path, 100)
    elsewhere = place.root / "elsewhere"
    place.touch(elsewhere / named(1).object_name, 100)
    (place.root / FOLDER / "day=2026-12-01").symlink_to(elsewhere)
    await place.sweep(10)
    assert all(path.exists() for path in strangers)
    assert (elsewhere / named(1).object_name).exists()


async def test_one_look_deletes_up_to_a_bound(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "archive_deletes_max", 2)
    place.put(named(10, begin=10))
    assert await place.sweep(10) == ["15", "20", "21", "22", "30"]
    assert await place.sweep(10) == ["21", "22", "30"]


async def test_checkpoints_stay_as_long_as_a_file_needs_them(place: Place) -> None:
    """Each file of them begins with all files of its time."""
    for day in (1, 10, 19, 29):
        name = f"checkpoints-202612{day:02d}T080000.000000Z.log.000000000000-000000000010"
        place.touch(place.root / FOLDER / "checkpoints" / name, 31 - day)
    place.in_use.add(named(20).file)
    await place.sweep(10)
    left = sorted(path.name[18:20] for path in (place.root / FOLDER / "checkpoints").iterdir())
    assert left == ["19", "29"]


async def test_what_is_kept_still_verifies(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    """After each object that retention deletes."""
    for _ in range(2):
        machine.write()
        machine.take()
        await archive.ship()
        machine.pass_time(3 * DAY)
        machine.rotate()
    machine.end()
    await archive.ship()
    for path in archive.root.rglob("*.parquet"):
        stored = machine.now.timestamp() - 3 * DAY
        os.utime(path, (stored, stored))
    found = await archive.verified()
    assert found.findings == []
    files, now = found.files, machine.now + timedelta(days=1)
    limits_of_one = pytest.MonkeyPatch()
    limits_of_one.setattr(limits, "archive_deletes_max", 1)
    store, left = FolderStore(archive.root), len(archive.objects)
    while True:
        retention = Retention(store, FOLDER, 1, lambda _: False, lambda: now)
        listing = await store.list(FOLDER)
        await retention.sweep(listing._replace(now=now.timestamp()))
        if len(archive.objects) == left:
            break
        left = len(archive.objects)
        found = await archive.verified()
        assert found.findings == []
        assert found.gone + found.files == files
    limits_of_one.undo()
    assert found.gone == files


async def test_a_place_that_lets_nothing_go_shows(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    """The archive still gets all lines."""
    keeping = Archive(machine.folder, archive.root, is_plain=True, keep_days=1)
    machine.write()
    place = Place(archive.root)
    place.put(named(1), days_ago=400)
    path = next(place.root.glob("machine=*/day=*/*"))
    old = path.with_name(path.name.replace("202612", "202011"))
    (old.parent.with_name("day=2020-11-01")).mkdir()
    path.rename(old.parent.with_name("day=2020-11-01") / old.name)
    archiver, ending = keeping.start(), trio.Event()

    async def denied(name: str) -> None:
        raise ReceiverError("HTTP status 403 (AccessDenied)", mend="let the user delete objects")

    archiver._store.delete = denied  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(archiver.run, ending)
        await trio.sleep(5)
        state = archiver.health()
        assert state.state is HealthState.DEGRADED
        assert "does not let old objects go: HTTP status 403" in state.why
        assert state.mend == "let the user delete objects, or remove `keep_days`"
        ending.set()
    assert len(keeping.objects) == 3
