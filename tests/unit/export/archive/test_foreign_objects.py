"""A person who may add objects to the archive, under any name, keeps no line from it."""

import os
import random
import shutil
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_archive import Archive, Crash, Steps, audit_content
from signed_audit import Machine

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit import parquet
from crewgate.audit.checkpoints.findings import FindingKind
from crewgate.audit.file_part import FilePart
from crewgate.core.health import HealthState
from crewgate.errors import ObjectRefusedError
from crewgate.export.archive.object_names import LogPart, day_folder, log_part_of, part_of

STORMS = 100


class Forger:
    """Adds objects to an archive, and replaces none."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.forged: dict[Path, bytes] = {}

    def put(self, path: Path, data: bytes) -> bool:
        """Add an object; return whether there was none."""
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.forged[path] = data
        return True

    def add(self, part: FilePart, lines: bytes | None = None) -> Path:
        """Add an object with such lines, or with those of the audit after a change."""
        own = (self.archive.folder / part.file).read_bytes()[part.begin : part.end]
        made = own.replace(b"x", b"y") if lines is None else lines
        path = self.archive.root / "machine=gw-1" / day_folder(part) / part.object_name
        if not self.archive.is_plain:
            source, out = path.name + ".source", self.archive.root.parent / "forged"
            whole = self.archive.root.parent / source
            whole.write_bytes(b"\0" * part.begin + made)
            parquet.write(whole, part, out)
            made = out.read_bytes()
        assert self.put(path, made)
        return path

    @property
    def left(self) -> list[Path]:
        """Those that are as they were forged."""
        return [path for path, data in self.forged.items() if path.read_bytes() == data]


def sizes(machine: Machine) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in audit_folder.files(machine.folder)}


@pytest.mark.parametrize("begin_of_end", [0, 1, 2])
async def test_an_object_under_the_next_name_keeps_no_line_from_the_archive(
    machine: Machine, archive: Archive, begin_of_end: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it names all lines that wait, fewer, or more than there are. It stays as it is."""
    machine.write()
    machine.take()
    await archive.ship()
    before = sizes(machine)
    machine.write()
    machine.take()
    name, size = max(sizes(machine).items())
    forger = Forger(archive)
    end = [size, (before[name] + size) // 2, size + 7][begin_of_end]
    line = b"{}".ljust(end - before[name] - 1) + b"\n"
    path = forger.add(FilePart(name, before[name], end), line)
    machine.end()
    await archive.ship()
    assert forger.left == [path]
    assert f"somebody else has written machine=gw-1/{path.parent.name}/{path.name}" in caplog.text
    found = await archive.verified()
    assert [(each.kind, each.file) for each in found.findings] == [
        (FindingKind.INSERTED, f"{path.parent.name}/{path.name}")
    ]
    assert (found.lines, found.unsigned) == (machine.numbers, [])
    path.unlink()
    assert archive.content() == audit_content(machine.folder)
    assert (await archive.verified()).is_whole


@pytest.mark.parametrize("kind", ["day=", "checkpoints/"])
@pytest.mark.parametrize("is_folder", [False, True])
async def test_an_object_that_comes_just_before_ours_stays_and_shows(
    machine: Machine, archive: Archive, kind: str, is_folder: bool
) -> None:
    """Even if it has the very name that the process was about to use."""
    forger = Forger(archive)

    def forge(name: str) -> None:
        path = archive.root / name
        if kind not in name or forger.forged or path.exists():
            return
        if is_folder:
            path.mkdir(parents=True)
            path /= "x"
        forger.put(path, b"yyy\n")

    machine.write()
    machine.end()
    archiver, ending = archive.start(Steps(before_put=forge)), trio.Event()
    ending.set()
    await archiver.run(ending)
    (path,) = forger.left
    place = path.parent if is_folder else path
    assert archiver._progress.position.foreign == [f"{place.parent.name}/{place.name}"]
    await archiver._adoption.look_again()
    assert archiver.health().state is HealthState.DEGRADED
    path.unlink()
    if is_folder:
        place.rmdir()
    assert archive.content() == audit_content(machine.folder)
    assert (await archive.verified()).is_whole


@pytest.mark.parametrize("kind", ["day=", "checkpoints/"])
async def test_an_object_whose_answer_was_lost_is_not_stored_twice(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    """Also if it has a name that nobody can know, because a foreign object has the usual one."""
    forger, names = Forger(archive), list[str]()

    def forge(name: str) -> None:
        if kind in name and not forger.forged:
            forger.put(archive.root / name, b"yyy\n")
        names.append(name)

    machine.write()
    machine.end()
    await archive.ship(Steps(before_put=forge, loses_answer=lambda: names.count(names[-1]) == 1))
    (path,) = forger.left
    path.unlink()
    assert archive.content() == audit_content(machine.folder)
    assert len([*archive.root.rglob("checkpoints-*")]) == 1
    assert (await archive.verified()).is_whole


async def test_the_part_under_way_is_compared_beside_any_number_of_foreign_objects(
    machine: Machine, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its lines would be in two objects."""
    archive.is_plain = True
    monkeypatch.setattr(limits, "archive_foreign_compared_max", 0)
    machine.write()
    with pytest.raises(Crash):
        await archive.ship(Steps(3.5))  # after the first object, before its position
    assert len(archive.objects) == 1
    await archive.ship()
    assert archive.content() == audit_content(machine.folder)


async def test_a_foreign_object_shows_until_it_is_gone(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    """Also after the process has started again, which ships nothing of that file any more."""
    archive.is_plain = True
    machine.write()
    name, size = max(sizes(machine).items())
    path = Forger(archive).add(FilePart(name, 0, size))
    await archive.ship()
    archiver, ending = archive.start(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(archiver.run, ending)
        await trio.sleep(5)
        state = archiver.health()
        assert state.state is HealthState.DEGRADED
        assert "somebody else has written objects to machine=gw-1/" in state.why
        assert "1 under names of this machine" in state.why
        assert f"{path.parent.name}/{path.name}" in state.why
        assert "keep a copy of these objects, and delete them" in state.mend
        path.unlink()
        await trio.sleep(limits.archive_foreign_look_seconds + 5)
        assert archiver.health().state is HealthState.OK
        ending.set()
    assert archive.content() == audit_content(machine.folder)


async def test_only_some_foreign_objects_are_named_and_read(
    machine: Machine, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, a start reads so many of them, and no line is kept away."""
    archive.is_plain = True
    monkeypatch.setattr(limits, "archive_foreign_compared_max", 5)
    monkeypatch.setattr(limits, "archive_foreign_max", 7)
    machine.write()
    name = max(sizes(machine))
    forger = Forger(archive)
    for end in range(1, 30):
        forger.add(FilePart(name, 0, end))
    archiver, ending = archive.start(), trio.Event()
    read: list[str] = []
    get = archiver._store.get

    async def counted(place: str) -> bytes:
        read.append(place)
        return await get(place)

    archiver._store.get = counted  # type: ignore[method-assign]
    ending.set()
    await archiver.run(ending)
    assert len(read) == 5
    assert len(archiver._progress.position.foreign) == 7
    assert "7 or more under names of this machine" in archiver.health().why
    for path in forger.left:
        path.unlink()
    assert archive.content() == audit_content(machine.folder)


async def test_an_object_with_the_true_lines_counts_if_its_columns_are_true(
    machine: Machine, archive: Archive
) -> None:
    """Else a query would read what no line says."""
    machine.write()
    machine.take()
    await archive.ship()
    shutil.rmtree(archive.state)
    await archive.ship()
    assert len(archive.objects) == 2
    shutil.rmtree(archive.state)
    path = archive.objects[0]
    data = path.read_bytes()
    path.write_bytes(data.replace(b"worker-0", b"worker-7"))
    assert data != path.read_bytes()
    machine.end()
    await archive.ship()
    assert len([each for each in archive.objects if each.name.startswith("worker-0")]) == 2


@pytest.mark.parametrize("kind", ["large", "link", "pipe"])
async def test_an_object_that_nobody_can_read_keeps_no_line_from_the_archive(
    machine: Machine, archive: Archive, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of lines or of checkpoints, at the next byte or as the one that was under way."""
    most = 2**17
    monkeypatch.setattr(limits, "archive_object_bytes_max", most)
    machine.write()
    machine.end()
    name, size = max(sizes(machine).items())
    part = FilePart(name, 0, size)
    log = max(machine.folder.glob("*.log"))
    root = archive.root / "machine=gw-1"
    places = [
        root / day_folder(part) / part.object_name,
        root / "checkpoints" / LogPart(log.name, 0, log.stat().st_size).object_name,
    ]
    for path in places:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "large":
            path.write_bytes(b"\0" * (most + 1))
        elif kind == "link":
            path.symlink_to(log)
        else:
            os.mkfifo(path)
    found = archive.start()
    found._progress.position.pending = part
    ending = trio.Event()
    ending.set()
    with trio.fail_after(30):
        await found.run(ending)
    assert sorted(found._progress.position.foreign) == sorted(
        f"{path.parent.name}/{path.name}" for path in places
    )
    report = await archive.verified()
    strangers = {f"{path.parent.name}/{path.name}" for path in places}
    assert {each.file for each in report.findings} <= strangers
    assert report.lines == machine.numbers
    for path in places:
        path.unlink()
    assert archive.content() == audit_content(machine.folder)
    assert (await archive.verified()).is_whole


async def test_an_object_that_only_others_may_read_keeps_no_line_from_the_archive(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    """The machine may read its own objects, so it is not its permissions."""
    archive.is_plain = True
    machine.write()
    machine.end()
    name, size = max(sizes(machine).items())
    forger = Forger(archive)
    path = forger.add(FilePart(name, 0, size))
    archiver, ending = archive.start(), trio.Event()
    get = archiver._store.get

    async def refused(place: str) -> bytes:
        if place.endswith(path.name):
            raise ObjectRefusedError("HTTP status 403 (AccessDenied)")
        return await get(place)

    archiver._store.get = refused  # type: ignore[method-assign]
    ending.set()
    with trio.fail_after(30):
        await archiver.run(ending)
    assert archiver._progress.position.foreign == [f"{path.parent.name}/{path.name}"]
    assert forger.left == [path]
    path.unlink()
    assert archive.content() == audit_content(machine.folder)


async def test_no_name_of_checkpoints_makes_a_start_read_more_than_there_is(
    machine: Machine, archive: Archive
) -> None:
    """Such as one that ends at a terabyte."""
    machine.write()
    machine.end()
    log = max(machine.folder.glob("*.log"))
    path = archive.root / "machine=gw-1/checkpoints" / LogPart(log.name, 0, 10**12 - 1).object_name
    path.parent.mkdir(parents=True)
    path.write_bytes(log.read_bytes())
    archiver, ending = archive.start(), trio.Event()
    ending.set()
    with trio.fail_after(30):
        await archiver.run(ending)
    assert archiver._progress.position.foreign == [f"checkpoints/{path.name}"]
    path.unlink()
    assert archive.content() == audit_content(machine.folder)
    assert (await archive.verified()).is_whole


async def test_a_service_that_lets_nobody_get_objects_is_said(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    """As soon as the process must know what an object holds. It goes on once it may."""
    archive.is_plain = True
    machine.write()
    steps = Steps(3.5)  # after the first object, before its position
    with pytest.raises(Crash):
        await archive.ship(steps)
    assert len(archive.objects) == 1

    async def refused(place: str) -> bytes:
        raise ObjectRefusedError("HTTP status 403 (AccessDenied)")

    archiver, ending = archive.start(), trio.Event()
    get = archiver._store.get
    archiver._store.get = refused  # type: ignore[method-assign]
    ending.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(archiver.run, ending)
        await trio.sleep(30)
        assert "HTTP status 403 (AccessDenied)" in archiver.health().why
        archiver._store.get = get  # type: ignore[method-assign]
    assert archive.content() == audit_content(machine.folder)
    shutil.rmtree(archive.state)
    machine.write()
    archiver = archive.start()
    archiver._store.get = refused  # type: ignore[method-assign]
    with trio.move_on_after(30):
        await archiver.run(trio.Event())
    assert "HTTP status 403 (AccessDenied)" in archiver.health().why


class Attack:
    """A machine and its archive, whose process is killed, beside a forger."""

    def __init__(self, archive: Archive, seed: int) -> None:
        for each in archive.folder, archive.root, archive.state:
            shutil.rmtree(each, ignore_errors=True)
        archive.root.mkdir()
        self.machine, self.archive = Machine(archive.folder), archive
        self.forger, self.random = Forger(archive), random.Random(seed)

    def forge(self) -> None:
        """Add an object at a byte where one may begin, or anywhere."""
        known = sizes(self.machine)
        name = self.random.choice([*known])
        ends = {0, known[name]} | {
            part.end
            for each in self.archive.objects
            if (part := part_of(f"{each.parent.name}/", each.name)) and part.file == name
        }
        begin = self.random.choice([*ends, self.random.randrange(known[name] + 1)])
        end = self.random.choice([*ends, begin + self.random.randrange(1, 400)])
        if begin < end:
            part = FilePart(name, begin, end, self.random.choice(["", "", "0" * 16]))
            path = self.archive.root / "machine=gw-1" / day_folder(part) / part.object_name
            if not path.exists():
                self.forger.add(part, b"y" * (end - begin - 1) + b"\n")

    def forge_log(self) -> None:
        logs = sorted(self.archive.folder.glob("*.log"))
        if not logs:
            return
        log = self.random.choice(logs)
        folder = self.archive.root / "machine=gw-1" / "checkpoints"
        there = [log_part_of(path.name) for path in folder.glob("*")] if folder.exists() else []
        begin = self.random.choice([0, *(part.end for part in there if part)])
        end = self.random.choice([begin + 50, max(log.stat().st_size, begin + 1)])
        data = self.random.choice([b"{}\n", log.read_bytes()[:50]]) * 2000
        part = LogPart(log.name, begin, end)
        self.forger.put(folder / part.object_name, data[: end - begin])

    def forge_next(self, name: str) -> None:
        """Add an object under the name that the process is just about to use."""
        if self.random.random() < 0.2 and "written-by" not in name:
            self.forger.put(self.archive.root / name, b"yyy\n")

    async def ship(self) -> None:
        if self.random.random() < 0.2:
            shutil.rmtree(self.archive.state, ignore_errors=True)
        crash_at = self.random.randrange(24) / 2
        try:
            await self.archive.ship(
                Steps(crash_at, self.forge_next, lambda: self.random.random() < 0.1)
            )
        except* Crash:
            pass

    async def blow(self, rounds: int) -> None:
        actions = [self.machine.write, self.machine.take, self.machine.rotate, self.forge,
                   self.forge, self.forge_log]  # fmt: skip
        for _ in range(rounds):
            self.random.choice(actions)()
            if self.random.random() < 0.4:
                await self.ship()

    async def end(self) -> None:
        self.machine.end()
        await self.archive.ship()


async def test_no_crash_beside_a_forger_repeats_or_loses_a_line(
    archive: Archive, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's own objects have each line once, also after its state folder was lost."""
    monkeypatch.setattr(limits, "archive_part_bytes_max", 1500)
    archive.is_plain = True
    forged = 0
    for seed in range(STORMS):
        attack = Attack(archive, seed)
        await attack.blow(25)
        await attack.end()
        assert len(attack.forger.left) == len(attack.forger.forged), seed
        forged += len(attack.forger.left)
        for path in attack.forger.left:
            path.unlink()
        assert archive.content() == audit_content(archive.folder), seed
    assert forged > STORMS


async def test_an_archive_beside_a_forger_verifies_to_its_last_line(
    archive: Archive, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each finding is about an object of the forger, or about a file to which one was added."""
    monkeypatch.setattr(limits, "archive_part_bytes_max", 1500)
    for seed in range(10):
        attack = Attack(archive, seed)
        await attack.blow(25)
        await attack.end()
        found = await archive.verified()
        left = {f"{path.parent.name}/{path.name}" for path in attack.forger.left}
        assert left
        for each in found.findings:
            file = each.file.removesuffix(".jsonl")
            assert each.file in left or any(f"/{file}." in name for name in left), (seed, each)
            assert each.kind is not FindingKind.REMOVED
        assert found.lines == attack.machine.numbers, seed
