"""An archive that was changed does not verify; one that retention has shortened does."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import trio
from audit_archive import Archive, audit_content, inline
from signed_audit import KEY, OTHER_KEY, Machine

from crewgate.audit.checkpoints.findings import FindingKind
from crewgate.audit.writer import RotationPolicy
from crewgate.export.archive import archive_reader
from crewgate.export.archive.folder_store import FolderStore
from crewgate.export.archive.object_names import part_of

TAMPERINGS = 200


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive of files in several parts, some of which the machine has deleted meanwhile."""
    folder = tmp_path_factory.mktemp("site")
    machine = Machine(folder / "audit", RotationPolicy(bytes_max=2**20))
    archive = Archive(machine.folder, folder / "archive")

    async def ship() -> None:
        line = b'{"kind":"call","crew":"a","cost_micro":%d,"tool":"x"}\n'
        for _ in range(2):
            for number in range(2):
                machine.writers[0].write_lines([line % (number * 10 + at) for at in range(3)])
                machine.take()
                await archive.ship()
            machine.rotate()
        machine.end()
        await archive.ship()
        for path in sorted(machine.folder.glob("*.jsonl"))[:2]:
            path.unlink()
        machine.keeper = machine.start()
        machine.keeper.take()
        await archive.ship()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", inline)
        trio.run(ship)
    return archive


@pytest.fixture
def copied(shipped: Archive, tmp_path: Path) -> Archive:
    shutil.copytree(shipped.root, tmp_path / "archive")
    return Archive(shipped.folder, tmp_path / "archive")


async def kinds(archive: Archive) -> set[FindingKind]:
    return {each.kind for each in (await archive.verified()).findings}


async def test_an_honest_archive_is_whole_also_of_files_that_the_machine_has_deleted(
    shipped: Archive,
) -> None:
    found = await shipped.verified()
    assert (found.findings, found.unsigned, found.gone) == ([], [], 0)
    assert found.lines == 12
    assert found.files > len(audit_content(shipped.folder))
    assert (len(shipped.objects), found.files) == (4, 2)


def _rewrite(chosen: random.Random, path: Path) -> str:
    """Change the rows of an object."""
    statements = {
        "remove a row": "FROM rows WHERE file_offset <> {offset}",
        "repeat a row": "FROM rows UNION ALL FROM rows WHERE file_offset = {offset}",
        "change a line": "SELECT * REPLACE (CASE file_offset WHEN {offset} "
        "THEN replace(line, 'call', 'cell') ELSE line END AS line) FROM rows",
        "change a column": "SELECT * REPLACE (CASE file_offset WHEN {offset} "
        "THEN 7777 ELSE cost_micro END AS cost_micro) FROM rows",
        "clear a column": "SELECT * REPLACE (CASE file_offset WHEN {offset} "
        "THEN NULL ELSE tool END AS tool) FROM rows",
        "change the file": "SELECT * REPLACE ('x' AS file) FROM rows",
    }
    name, statement = chosen.choice([*statements.items()])
    offsets = duckdb.execute(
        f"SELECT file_offset FROM read_parquet('{path}', hive_partitioning=false)"
    ).fetchall()
    statement = statement.format(offset=chosen.choice(offsets)[0])
    other = path.with_suffix(".other")
    duckdb.execute(
        f"COPY (WITH rows AS (FROM read_parquet('{path}', hive_partitioning=false)) {statement}) "
        f"TO '{other}' (FORMAT parquet)"
    )
    other.replace(path)
    return name


def rows_of(path: Path) -> object:
    """Return the rows that a query reads, or that it reads none."""
    try:
        return duckdb.execute(f"FROM read_parquet('{path}', hive_partitioning=false)").fetchall()
    except duckdb.Error:
        return None


def _flip(chosen: random.Random, path: Path) -> str:
    """Change bytes of an object, unless nobody reads them."""
    data = bytearray(path.read_bytes())
    at = chosen.randrange(4, len(data) // 2)  # of the pages; the rest has statistics
    data[at : at + 16] = chosen.randbytes(16)
    path.write_bytes(data)
    return "flip bytes"


def _move(chosen: random.Random, path: Path) -> str:
    """Give an object another name: other offsets, another file, another day."""
    name = path.name.replace(".000000000000-", ".000000000001-")
    other = chosen.choice(
        [
            path.with_name(name if name != path.name else f"x{path.name}"),
            path.with_name(path.name.replace("worker-0", "worker-9").replace("worker-1", "agent")),
            path.parent.with_name("day=2026-11-30") / path.name,
            path.parent.parent / path.name,
            path.parent / "deep" / path.name,
        ]
    )
    other.parent.mkdir(exist_ok=True)
    path.rename(other)
    return "move an object"


def _repeat(chosen: random.Random, path: Path) -> str:
    """Add a copy of an object, of which a query reads all rows again."""
    other = chosen.choice(
        [
            path.with_name(f"copy.{path.name}"),
            path.with_name(f".{path.name}"),
            path.parent.with_name("day=2026-12-03") / path.name,
            path.parents[1] / "checkpoints" / path.name,
        ]
    )
    other.parent.mkdir(exist_ok=True)
    if chosen.random() < 0.3:
        other.symlink_to(path)
    else:
        shutil.copy(path, other)
    return "add an object"


def _log(chosen: random.Random, path: Path) -> str:
    """Change the checkpoints."""
    parts = sorted(path.parents[1].glob("checkpoints/*"))
    part = chosen.choice(parts)
    if chosen.random() < 0.3 and part != parts[-1]:
        part.unlink()
        return "remove checkpoints"
    lines = part.read_bytes().split(b"\n")
    at = chosen.randrange(len(lines) - 1)
    if chosen.random() < 0.5 and part != parts[-1]:
        del lines[at]
        part.write_bytes(b"\n".join(lines))
        return "remove a checkpoint"
    lines[at] = lines[at].replace(b'"bytes":', b'"bytes":1')
    if b'"bytes":' not in lines[at]:
        lines[at] = lines[at].replace(b'"number":', b'"number":1')
    part.write_bytes(b"\n".join(lines))
    return "change a checkpoint"


async def test_each_tampering_is_found(shipped: Archive, tmp_path: Path) -> None:
    """Rows, objects, names and checkpoints, chosen at random."""
    chosen = random.Random(3)
    seen: dict[str, int] = {}
    tamperings: list[Callable[[random.Random, Path], str]] = [_rewrite, _flip, _move, _repeat, _log]
    for number in range(TAMPERINGS):
        root = tmp_path / str(number)
        shutil.copytree(shipped.root, root)
        archive = Archive(shipped.folder, root)
        path = chosen.choice(archive.objects)
        before = rows_of(path)
        done = chosen.choice(tamperings)(chosen, path)
        if done == "flip bytes" and rows_of(path) == before:
            continue  # bytes that nobody reads
        seen[done] = seen.get(done, 0) + 1
        assert await kinds(archive), (number, done, path.name)
        shutil.rmtree(root)
    assert len(seen) >= 11


async def test_an_object_that_is_removed_is_found(copied: Archive) -> None:
    """The whole oldest file may be gone: retention may have deleted it."""
    files: dict[str, list[Path]] = {}
    for path in copied.objects:
        part = part_of(f"{path.parent.name}/", path.name)
        assert part is not None
        files.setdefault(part.file, []).append(path)
    for file, paths in files.items():
        for path, kind in zip(paths, (FindingKind.REMOVED, FindingKind.CUT), strict=True):
            data = path.read_bytes()
            path.unlink()
            (finding,) = (await copied.verified()).findings
            assert (finding.file, finding.kind) == (file, kind)
            path.write_bytes(data)
    for paths in reversed(files.values()):
        for path in paths:
            path.rename(path.with_suffix(".away"))
        found = await copied.verified()
        is_oldest = paths == files[min(files)]
        assert (found.gone, len(found.findings)) == ((1, 0) if is_oldest else (0, 1))
        for path in paths:
            path.with_suffix(".away").rename(path)


async def test_another_key_and_no_checkpoints_are_found(copied: Archive) -> None:
    store = FolderStore(copied.root)
    found = await archive_reader.verify(store, "gw-1", {OTHER_KEY.public})
    assert {each.kind for each in found.findings} >= {FindingKind.LOG}
    shutil.rmtree(copied.root / "machine=gw-1" / "checkpoints")
    found = await archive_reader.verify(store, "gw-1", {KEY.public})
    assert (found.checkpoints, found.files) == (0, 0)
    assert found.unsigned != []


async def test_a_folder_that_a_query_takes_for_that_of_the_machine_is_found(
    copied: Archive,
) -> None:
    """Its name has another escape. Another machine is another matter."""
    path = copied.objects[0]
    for machine in "machine=gw-2", "machine=gw%2D1":
        other = copied.root / machine / path.parent.name / path.name
        other.parent.mkdir(parents=True)
        shutil.copy(path, other)
        names = duckdb.execute(
            f"SELECT DISTINCT machine FROM read_parquet('{other}', hive_partitioning = true)"
        ).fetchall()
        is_meant = names == [("gw-1",)]
        assert is_meant == (machine == "machine=gw%2D1")
        assert await kinds(copied) == ({FindingKind.INSERTED} if is_meant else set())


async def test_a_pipe_holds_nobody(copied: Archive) -> None:
    path = copied.objects[1]
    path.unlink()
    os.mkfifo(path)
    assert await kinds(copied) == {FindingKind.CHANGED}
