"""The process that writes objects is one for several, and each way in which it ends is said."""

import os
import signal
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_archive import audit_line

from crewgate import limits
from crewgate.audit import parquet
from crewgate.audit.file_part import FilePart
from crewgate.errors import ReceiverError
from crewgate.export.archive.parquet_writer import ParquetWriter

FILE = "worker-0-20261201T080000.000000Z.jsonl"
SIZE = len(audit_line(1))


@pytest.fixture
def writer(tmp_path: Path) -> ParquetWriter:
    (tmp_path / FILE).write_bytes(audit_line(1) + audit_line(2))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "x.0123.parquet.draft").write_bytes(b"of a killed process")
    return ParquetWriter(tmp_path, tmp_path / "state", "x")


async def test_one_process_writes_several_objects(writer: ParquetWriter, tmp_path: Path) -> None:
    """No draft is left."""
    pids = set()
    for begin in (0, SIZE):
        part = FilePart(FILE, begin, begin + SIZE)
        data, count = await writer.write(part)
        (tmp_path / "out").write_bytes(data)
        assert count == 1
        assert b"".join(parquet.lines(tmp_path / "out", part)) == audit_line(begin // SIZE + 1)
        assert writer._process is not None
        pids.add(writer._process.pid)
    assert len(pids) == 1
    with pytest.raises(ReceiverError, match=f"has {2 * SIZE} bytes; expected {2 * SIZE + 1}"):
        await writer.write(FilePart(FILE, 0, 2 * SIZE + 1))
    await writer.close()
    assert writer._process is None
    assert list((tmp_path / "state").iterdir()) == []


async def test_a_killed_process_is_said_and_the_next_one_goes_on(writer: ParquetWriter) -> None:
    part = FilePart(FILE, 0, SIZE)
    await writer.write(part)
    assert writer._process is not None
    os.kill(writer._process.pid, signal.SIGKILL)
    with pytest.raises(ReceiverError, match="ended with status -9"):
        await writer.write(part)
    assert (await writer.write(part))[1] == 1
    await writer.close()


async def test_a_process_that_is_silent_is_ended(
    writer: ParquetWriter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also if the export process ends meanwhile."""
    part = FilePart(FILE, 0, SIZE)
    await writer.write(part)
    assert writer._process is not None
    os.kill(writer._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(limits, "archive_write_seconds", 0.05)
    with pytest.raises(ReceiverError, match=r"cannot be written as Parquet within 0\.05 s"):
        await writer.write(part)
    assert writer._process is None
    monkeypatch.undo()
    await writer.write(part)
    process = writer._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, part)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert process.returncode == -signal.SIGKILL
    assert list((tmp_path / "state").iterdir()) == []


async def test_an_object_that_is_there_is_compared_with_the_audit(
    writer: ParquetWriter, tmp_path: Path
) -> None:
    """Its lines and its columns; what is no object, or too large for the engine, differs too."""
    part, other = FilePart(FILE, 0, SIZE), FilePart(FILE, SIZE, 2 * SIZE)
    data, _ = await writer.write(part)
    assert await writer.difference(part, data) == ""
    assert await writer.difference(part._replace(variant="0" * 16), data) == ""
    assert await writer.difference(other, data) == (
        f"a row at byte 0 stands where {SIZE} is expected"
    )
    (tmp_path / FILE).write_bytes(audit_line(1).replace(b"web", b"wow") + audit_line(2))
    assert await writer.difference(part, data) == "it has other lines"
    assert "it is no readable Parquet file" in await writer.difference(part, b"PAR1" + bytes(100))
    (tmp_path / FILE).unlink()
    with pytest.raises(ReceiverError, match=f"the audit file {FILE} cannot be read"):
        await writer.difference(part, data)
    await writer.close()
    assert list((tmp_path / "state").iterdir()) == []


async def test_an_object_that_ends_or_holds_the_process_differs(
    writer: ParquetWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody can stop the archive with such an object."""
    part = FilePart(FILE, 0, SIZE)
    data, _ = await writer.write(part)
    assert writer._process is not None
    os.kill(writer._process.pid, signal.SIGKILL)
    assert "ended with status -9" in await writer.difference(part, data)
    await writer.write(part)
    assert writer._process is not None
    os.kill(writer._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(limits, "archive_write_seconds", 0.05)
    assert await writer.difference(part, data) == "it cannot be read within 0.05 s"
    monkeypatch.undo()
    assert await writer.difference(part, data) == ""
    await writer.close()
