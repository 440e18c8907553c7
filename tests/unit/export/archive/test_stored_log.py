"""The checkpoints of an archive are joined from those parts that the machine has written."""

import tracemalloc
from pathlib import Path

import pytest
from audit_archive import Archive
from signed_audit import KEY, Machine

from crewgate import limits
from crewgate.export.archive.folder_store import FolderStore
from crewgate.export.archive.object_names import LogPart, log_part_of
from crewgate.export.archive.stored_log import fetch_log


class Site:
    """The one file of the log in an archive that has several parts of it."""

    def __init__(self, machine: Machine, archive: Archive) -> None:
        self.machine, self.archive = machine, archive
        self.folder = archive.root / "machine=gw-1" / "checkpoints"
        (self.log,) = machine.folder.glob("*.log")

    @property
    def parts(self) -> list[LogPart]:
        return [part for path in sorted(self.folder.iterdir()) if (part := log_part_of(path.name))]

    def add(self, begin: int, end: int, data: bytes | None = None) -> str:
        part = LogPart(self.log.name, begin, end)
        own = self.log.read_bytes()[begin:end]
        (self.folder / part.object_name).write_bytes(own if data is None else data)
        return f"checkpoints/{part.object_name}"

    async def fetched(self, out: Path) -> tuple[bytes, dict[str, str]]:
        store = FolderStore(self.archive.root)
        strangers = await fetch_log(store, "machine=gw-1/", out, {KEY.public})
        return (out / self.log.name).read_bytes(), dict(strangers)


@pytest.fixture
async def site(machine: Machine, archive: Archive) -> Site:
    archive.is_plain = True
    for _ in range(4):
        machine.write()
        machine.take()
        await archive.ship()
    return Site(machine, archive)


async def test_parts_that_follow_one_another_are_joined(site: Site, tmp_path: Path) -> None:
    assert len(site.parts) == 4
    assert await site.fetched(tmp_path) == (site.log.read_bytes(), {})


async def test_a_part_that_has_true_bytes_changes_nothing(site: Site, tmp_path: Path) -> None:
    """Also if it ends within a line, or within a part of the machine."""
    second = site.parts[1]
    site.add(0, 50)
    site.add(second.begin, second.end + 40)
    site.add(second.begin + 7, second.end - 7)
    assert await site.fetched(tmp_path) == (site.log.read_bytes(), {})


async def test_a_part_with_other_checkpoints_is_named(site: Site, tmp_path: Path) -> None:
    """Such as old ones again, those of the machine with more behind, or none."""
    data, (first, second, third, _) = site.log.read_bytes(), site.parts
    begin = second.begin
    names = {
        site.add(begin, begin + first.end, data[: first.end]),
        site.add(begin, third.end + 9, data[begin : third.end] + b"no line {"),
        site.add(begin, third.end + 10, data[begin : third.end] + b"no line {\n"),
        site.add(begin + 3, third.end, b"x" * (third.end - begin - 3)),
        site.add(third.begin, third.end + 1, b"too short"),
    }
    joined, strangers = await site.fetched(tmp_path)
    assert joined == data
    assert {*strangers} == names


async def test_a_file_of_the_log_has_a_bound(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many parts somebody has put behind those of the machine."""
    data = site.log.read_bytes()
    monkeypatch.setattr(limits, "archive_log_file_bytes_max", len(data))
    names = {site.add(len(data) + at, len(data) + at + 1, b"x") for at in range(20)}
    joined, strangers = await site.fetched(tmp_path)
    assert joined == data
    assert {*strangers} == names
    assert f"has at most {len(data)} bytes" in strangers[min(names)]


async def test_large_parts_of_others_are_not_kept_together(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the best one is in memory, with the next one."""
    size = 2**20
    monkeypatch.setattr(limits, "archive_object_bytes_max", 2 * size)  # a read takes as much
    names = {site.add(0, size + number, b"{" * (size + number)) for number in range(30)}
    tracemalloc.start()
    try:
        data, strangers = await site.fetched(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data == site.log.read_bytes()
    assert {*strangers} == names
    assert peak < 10 * size
