"""The archive gets each line once, whatever ends the process."""

import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_archive import Archive, Crash, Steps, append, audit_content, audit_line
from signed_audit import Machine

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.file_part import FilePart
from crewgate.core.health import HealthState
from crewgate.errors import ReceiverError
from crewgate.export.archive.archiver import Archiver
from crewgate.metrics import families

STORMS = 150


async def test_all_lines_arrive_and_are_as_they_were_signed(
    machine: Machine, archive: Archive
) -> None:
    for _ in range(3):
        machine.write()
        machine.take()
        machine.rotate()
    machine.end()
    await archive.ship()
    assert archive.content() == audit_content(machine.folder)
    found = await archive.verified()
    assert (found.findings, found.unsigned, found.gone) == ([], [], 0)
    assert (found.lines, found.files) == (machine.numbers, len(audit_content(machine.folder)))


class Storm:
    """A machine that writes, rotates and is killed; and an archive whose process is killed."""

    def __init__(self, archive: Archive, seed: int) -> None:
        self.older = archive.state.with_name("older")
        for each in archive.folder, archive.root, archive.state, self.older:
            shutil.rmtree(each, ignore_errors=True)
        archive.root.mkdir()
        self.machine, self.archive = Machine(archive.folder), archive
        self.random = random.Random(seed)
        self.crashes = 0

    def write(self) -> None:
        chosen = self.random.choice(self.machine.writers)
        lines = [
            audit_line(self.random.randrange(60)),
            audit_line(1, role="r" * self.random.randrange(3000)),
            b"\xff\xfe no text\n",
            b"\n",
            b"x" * 5000 + b"\n",
        ]
        for _ in range(self.random.randrange(1, 6)):
            chosen.write_lines([self.random.choice(lines)])

    def tear(self) -> None:
        """Leave a part of a line at the end of a file whose process is killed."""
        at = self.random.randrange(2)
        os.write(self.machine.writers[at]._descriptor, b'{"kind":"ca')
        self.machine.kill(at)

    def forget(self) -> None:
        """Lose the state folder, or restore an older one."""
        state, older = self.archive.state, self.older
        if self.random.random() < 0.2:
            shutil.rmtree(state, ignore_errors=True)
        elif self.random.random() < 0.5 and older.exists():
            shutil.rmtree(state, ignore_errors=True)
            shutil.copytree(older, state)
        elif state.exists():
            shutil.rmtree(older, ignore_errors=True)
            shutil.copytree(state, older)

    async def ship(self) -> None:
        steps = Steps(
            self.random.randrange(24) / 2, loses_answer=lambda: self.random.random() < 0.2
        )
        try:
            await self.archive.ship(steps)
        except* Crash:
            self.crashes += 1

    async def blow(self, rounds: int) -> None:
        actions: list[Callable[[], object]] = [
            *[self.write] * 3, self.machine.take, self.machine.rotate, self.tear, self.forget,
        ]  # fmt: skip
        for _ in range(rounds):
            self.random.choice(actions)()
            if self.random.random() < 0.4:
                await self.ship()


async def test_no_crash_or_lost_answer_repeats_or_loses_a_line(
    archive: Archive, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a position of an older backup; random lines, rotations and kills."""
    monkeypatch.setattr(limits, "archive_part_bytes_max", 6000)
    archive.is_plain = True
    crashes = 0
    for seed in range(STORMS):
        storm = Storm(archive, seed)
        await storm.blow(20)
        storm.machine.end()
        await archive.ship()
        assert archive.content() == audit_content(archive.folder), seed
        crashes += storm.crashes
    assert crashes > STORMS


async def test_the_archive_verifies_at_each_moment(
    archive: Archive, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the process is killed: its checkpoints never say more than what it has."""
    monkeypatch.setattr(limits, "archive_part_bytes_max", 6000)
    monkeypatch.setattr(limits, "archive_piece_bytes_max", 1000)
    signed = 0
    for seed in range(6):
        storm = Storm(archive, seed)
        for number in range(4):
            await storm.blow(3)
            storm.forget()
            if number == 2:
                await archive.ship()
            found = await archive.verified()
            assert found.findings == [], seed
            signed += found.bytes
    assert signed > 0


async def test_a_position_that_is_lost_is_read_from_the_archive(
    machine: Machine, archive: Archive
) -> None:
    """Also that of the checkpoints."""
    for _ in range(3):
        machine.write()
        machine.take()
        await archive.ship()
        shutil.rmtree(archive.state)
    machine.write()
    machine.end()
    await archive.ship()
    assert archive.content() == audit_content(machine.folder)
    found = await archive.verified()
    assert (found.findings, found.unsigned, found.lines) == ([], [], machine.numbers)


@asynccontextmanager
async def running(archive: Archive) -> AsyncIterator[Archiver]:
    """Run a process; it ends with the block."""
    archiver, ending = archive.start(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(archiver.run, ending)
        yield archiver
        ending.set()


async def test_a_line_waits_for_an_hour_and_a_finished_file_for_nothing(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    archive.is_plain = True
    machine.write()
    async with running(archive):
        await trio.sleep(5)
        assert len(archive.objects) == 2  # what waits at the start has waited
        machine.write()
        machine.take()
        await trio.sleep(limits.archive_flush_seconds - 10)
        assert len(archive.objects) == 2
        await trio.sleep(20)
        assert len(archive.objects) == 4
        assert archive.content() == audit_content(machine.folder)
        machine.write()
        machine.rotate()
        machine.take()  # which sees that the processes have left their files
        await trio.sleep(5)
        assert len(archive.objects) == 6
        machine.write()
        await trio.sleep(5)
        assert len(archive.objects) == 6
    assert archive.content() == audit_content(machine.folder)


async def test_a_part_that_fills_an_object_waits_for_nothing(
    machine: Machine,
    archive: Archive,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line that is longer than an object is in several, and the others end with a line."""
    monkeypatch.setattr(limits, "archive_part_bytes_max", 1000)
    archive.is_plain = True
    machine.rotation.__init__(bytes_max=2**20)  # type: ignore[misc]
    async with running(archive):
        await trio.sleep(5)
        path = audit_folder.files(machine.folder)[0]
        append(path, b"x" * 300 + b"\n" + b"y" * 600 + b"\n" + b"z" * 2500 + b"\n")
        await trio.sleep(5)
        assert [each.stat().st_size for each in archive.objects] == [902, 1000, 1000]
    assert [each.stat().st_size for each in archive.objects] == [902, 1000, 1000, 501]


def away(*_: object) -> None:
    raise ReceiverError("HTTP status 503 (SlowDown)")


async def test_a_place_that_takes_nothing_shows_and_gets_all_later(
    machine: Machine,
    archive: Archive,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same object is tried again, and it is not longer than before."""
    archive.is_plain = True
    machine.write()
    machine.take()
    archiver, ending = archive.start(), trio.Event()
    tried: list[str] = []

    async def put(name: str, data: bytes) -> None:
        tried.append(name)
        away()

    put_well = archiver._store.put
    archiver._store.put = put  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(archiver.run, ending)
        await trio.sleep(20)
        archiver._store.put = put_well  # type: ignore[method-assign]
        await trio.sleep(40)
        archiver._store.put = put  # type: ignore[method-assign]
        machine.write()
        await trio.sleep(limits.archive_flush_seconds + 60)
        machine.write()
        await trio.sleep(60)
        assert len({each for each in tried if "day=" in each}) == 1
        state = archiver.health()
        assert state.state is HealthState.FAILED
        assert f"the folder {archive.root} has got no objects for" in state.why
        assert f"see that the file system of {archive.root} is mounted and has room" in state.mend
        assert "or correct `folder` of [export.archive]" in state.mend
        assert "HTTP status 503 (SlowDown); 0.0 MB of the audit wait" in state.why
        archiver._store.put = put_well  # type: ignore[method-assign]
        await trio.sleep(40)
        assert archiver.health().state is HealthState.OK
        ending.set()
    assert archive.content() == audit_content(machine.folder)
    assert f"the folder {archive.root} gets no objects: HTTP status 503" in caplog.text
    said = " ".join(caplog.messages)
    assert "receiver" not in said
    assert "records" not in said


async def test_what_is_deleted_before_it_was_shipped_is_a_loss(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    """Health and metrics say so, and so does a verification."""
    archive.is_plain = True
    machine.write()
    async with running(archive) as archiver:
        await trio.sleep(5)
        machine.write(3)
        machine.take()
        await trio.sleep(5)
        audit_folder.files(machine.folder)[0].unlink()
        await trio.sleep(5)
        state = archiver.health()
        assert state.state is HealthState.DEGRADED
        assert "bytes of 1 audit files were deleted before the archive had them" in state.why
        series = archive.metrics.series(families.EXPORT_LOST, "archive")
        assert series.value > 0


async def test_another_machine_with_the_same_name_shows(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Both go on, and neither deletes anything."""
    archive.is_plain = True
    other = Machine(tmp_path / "other" / "audit")
    other.pass_time(60)
    other.rotate()
    second = Archive(other.folder, tmp_path / "archive", is_plain=True)
    second.state = tmp_path / "other" / "export"
    machine.write()
    other.write()
    await archive.ship()
    async with running(second) as archiver:
        await trio.sleep(5)
        state = archiver.health()
        assert state.state is HealthState.DEGRADED
        assert "another machine has written to machine=gw-1/" in state.why
        assert "give each machine its own `name`" in state.mend
    assert len(archive.content()) == 4 - 2 + len(audit_content(other.folder))


@pytest.mark.parametrize("name", ["gw 1", "../..", "a/b", "ä=%2F", "."])
async def test_the_name_of_a_machine_may_be_strange(
    machine: Machine, archive: Archive, name: str
) -> None:
    machine.write()
    machine.take()
    ending = trio.Event()
    ending.set()
    await archive.start(machine=name).run(ending)
    (folder,) = archive.root.iterdir()
    assert folder.name.startswith("machine=")
    assert len(archive.objects) == 2
    found = await archive.verified(name)
    assert (found.findings, found.lines) == ([], 10)


async def test_a_link_in_the_archive_is_not_followed(
    machine: Machine, archive: Archive, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    archive.is_plain = True
    machine.write()
    elsewhere, day = tmp_path / "elsewhere", archive.root / "machine=gw-1" / "day=2026-12-01"
    for each in elsewhere, day.parent:
        each.mkdir()
    day.symlink_to(elsewhere)
    archiver = archive.start()
    with trio.move_on_after(30):
        await archiver.run(trio.Event())
    assert list(elsewhere.iterdir()) == []
    assert "Not a directory" in archiver.health().why


async def test_another_audit_folder_or_place_is_shipped_too(
    machine: Machine, archive: Archive, tmp_path: Path
) -> None:
    """The archive of both folders verifies; another place gets all that the audit still has."""
    machine.write()
    machine.take()
    await archive.ship()
    machine.write()
    machine.take()  # which the archive does not get
    machine.end()
    other = Machine(tmp_path / "other")
    other.now = machine.now
    other.rotate()
    other.write()
    other.take()
    second = Archive(other.folder, archive.root)
    await second.ship()
    other.write()
    other.end()
    await second.ship()
    found = await archive.verified()
    assert (found.findings, found.lines) == ([], 30)
    third = Archive(other.folder, tmp_path / "archive 3")
    third.state = second.state
    await third.ship()
    assert third.content() == audit_content(other.folder)
    assert (await third.verified()).findings == []


async def test_a_part_whose_object_cannot_be_made_becomes_smaller(
    machine: Machine,
    archive: Archive,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless somebody may have stored it: then it stays as it is."""
    monkeypatch.setattr(limits, "archive_part_bytes_max", 1000)
    monkeypatch.setattr(limits, "archive_part_bytes_min", 100)
    archive.is_plain = True
    machine.write(9)
    archiver, ending = archive.start(), trio.Event()
    write, tried, is_stuck = archiver._writer.write, [], True

    async def failing(part: FilePart) -> tuple[bytes, int]:
        tried.append(part.size)
        if part.size > 300 or (is_stuck and archiver._progress.position.files[first].offset):
            raise ReceiverError("the engine fails: out of memory")
        return await write(part)

    first = audit_folder.files(machine.folder)[0].name
    archiver._writer.write = failing  # type: ignore[method-assign]
    put = archiver._store.put

    async def lost(name: str, data: bytes) -> None:
        """Store an object, and lose the answer."""
        await put(name, data)
        raise ReceiverError("no answer")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(archiver.run, ending)
        await trio.sleep(60)
        assert len(archive.objects) == 1
        assert tried[:3] == sorted(tried[:3], reverse=True)
        assert min(tried) <= 100 + 110
        is_stuck = False
        archiver._store.put = lost  # type: ignore[method-assign]
        await trio.sleep(120)
        again = set(tried[-2:])
        assert len(again) == 1
        archiver._store.put = put  # type: ignore[method-assign]
        await trio.sleep(300)
        ending.set()
    assert archive.content() == audit_content(machine.folder)


async def test_a_link_in_the_audit_keeps_nothing_else_from_the_archive(
    machine: Machine, archive: Archive, tmp_path: Path
) -> None:
    """What it names is not shipped."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"s3cret\n")
    machine.write()
    machine.take()
    (machine.folder / "agent-20261101T000000.000000Z.jsonl").symlink_to(secret)
    os.mkfifo(machine.folder / "agent-20261102T000000.000000Z.jsonl")
    await archive.ship()
    assert len(archive.content()) == 2


async def test_a_file_that_became_shorter_is_not_shipped_again(
    machine: Machine, archive: Archive
) -> None:
    """Its lines stay in the archive, and a verification of the machine finds the change."""
    machine.write()
    machine.take()
    await archive.ship()
    before = archive.content()
    os.truncate(audit_folder.files(machine.folder)[0], 20)
    await archive.ship()
    assert archive.content() == before
    assert (await archive.verified()).is_whole
