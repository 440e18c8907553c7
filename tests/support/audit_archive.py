"""An archive of the audit of one machine in a folder, which a test ships under its clock."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from signed_audit import KEY

from crewgate.audit import parquet, parquet_process
from crewgate.audit.checkpoints.verification import VerificationReport
from crewgate.audit.file_part import FilePart
from crewgate.audit.parquet_order import ParquetOrder
from crewgate.config import ExportConfig
from crewgate.errors import ReceiverError
from crewgate.export.archive import archive_reader
from crewgate.export.archive.archiver import Archiver
from crewgate.export.archive.folder_store import FolderStore
from crewgate.export.archive.object_names import part_of
from crewgate.metrics.process_metrics import ProcessMetrics

_run_in_thread = trio.to_thread.run_sync


class Crash(BaseException):
    """The process is killed."""


class Steps:
    """Counts the steps of a process that leave something on a disk; it is killed at one of them.

    `crash_at` is the number of that step; half a step means after its effect. `before_put` gets the
    name of each object just before it is stored. `loses_answer` says whether the process does not
    learn that it was stored.
    """

    def __init__(
        self,
        crash_at: float = -1,
        before_put: Callable[[str], object] = str,
        loses_answer: Callable[[], bool] = bool,
    ) -> None:
        self.count, self.crash_at, self.is_dead = 0, crash_at, False
        self.before_put, self.loses_answer = before_put, loses_answer

    def take(self, work: Callable[[], object]) -> object:
        """Do one step."""
        if self.is_dead or self.count == self.crash_at:
            self.is_dead = True
            raise Crash
        done = work()
        if self.count + 0.5 == self.crash_at:
            self.is_dead = True
            raise Crash
        self.count += 1
        return done


class SteppedStore(FolderStore):
    """A folder, of which each change is a step."""

    def __init__(self, root: Path, steps: Steps) -> None:
        super().__init__(root)
        self._steps = steps

    def _put(self, name: str, data: bytes) -> None:
        self._steps.before_put(name)
        self._steps.take(lambda: FolderStore._put(self, name, data))
        if self._steps.loses_answer():
            raise ReceiverError("no answer")

    def _delete(self, name: str) -> None:
        self._steps.take(lambda: FolderStore._delete(self, name))


class Archive:
    """The archive in `root`, and the process that ships the audit in `folder` to it.

    With `is_plain`, the objects have the lines as they are, which is faster.
    """

    def __init__(self, folder: Path, root: Path, *, is_plain: bool = False, **keys: object) -> None:
        self.folder, self.root, self.is_plain = folder, root, is_plain
        self.state = root.parent / "export"
        root.mkdir(exist_ok=True)
        self.stores: list[SteppedStore] = []
        self.receiver = ExportConfig("archive", "parquet", folder=root, **keys)  # type: ignore[arg-type]
        self.metrics = ProcessMetrics.unshared()

    def start(self, steps: Steps | None = None, machine: str = "gw-1") -> Archiver:
        """Start a process, which reads its position from the disk."""
        steps = steps or Steps()
        store = SteppedStore(self.root, steps)
        found = Archiver(
            self.receiver, machine, self.folder, self.state, self.metrics, store, trio.current_time
        )

        async def write(part: FilePart) -> tuple[bytes, int]:
            await trio.lowlevel.checkpoint()
            if self.is_plain:
                return (self.folder / part.file).read_bytes()[part.begin : part.end], 1
            draft = self.root.parent / "draft"
            count = parquet.write(self.folder / part.file, part, draft)
            return draft.read_bytes(), count

        async def difference(part: FilePart, data: bytes) -> str:
            await trio.lowlevel.checkpoint()
            own = (self.folder / part.file).read_bytes()[part.begin : part.end]
            if self.is_plain:
                return "" if data == own else "it has other lines"
            draft = self.root.parent / "draft"
            draft.write_bytes(data)
            order = ParquetOrder(str(self.folder), part, str(draft), is_there=True)
            return parquet_process.answer(order).why

        found._writer.write = write  # type: ignore[method-assign]
        found._writer.difference = difference  # type: ignore[method-assign]
        save = found._file.save
        found._file.save = lambda position: steps.take(lambda: save(position))  # type: ignore[method-assign,assignment,return-value]
        return found

    async def ship(self, steps: Steps | None = None) -> None:
        """Have a new process ship all that there is, and end."""
        ending = trio.Event()
        ending.set()
        await self.start(steps).run(ending)

    async def verified(self, machine: str = "gw-1") -> VerificationReport:
        """Verify the archive as the command does."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio.to_thread, "run_sync", _run_in_thread)
            return await archive_reader.verify(FolderStore(self.root), machine, {KEY.public})

    @property
    def objects(self) -> list[Path]:
        """The objects with lines, by their names."""
        return sorted(self.root.glob("machine=*/day=*/*.parquet"))

    def content(self) -> dict[str, bytes]:
        """Return the bytes of each audit file, from objects that follow one another."""
        found: dict[str, bytes] = {}
        for path in self.objects:
            part = part_of(f"{path.parent.name}/", path.name)
            assert part is not None
            before = found.setdefault(part.file, b"")
            assert part.begin == len(before)
            if self.is_plain:
                found[part.file] = before + path.read_bytes()
                continue
            found[part.file] = before + b"".join(parquet.lines(path, part, with_members=True))
        return found


def audit_content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each audit file that is not empty."""
    found = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    return {name: data for name, data in found.items() if data}


async def inline(work: Callable[..., object], *arguments: object, **_: object) -> object:
    """Run a function here: the clock of a test does not wait for a thread."""
    await trio.lowlevel.checkpoint()
    return work(*arguments)


def audit_line(number: int, **members: str) -> bytes:
    """Return a line of a call."""
    more = "".join(f',"{name}":"{value}"' for name, value in members.items())
    return (
        b'{"kind":"call","machine":"gw-1","crew":"article","time":"2026-12-01T08:00:%02d.000001Z",'
        b'"cost_micro":%d,"tool":"search.web"%b}\n' % (number % 60, number, more.encode())
    )


def append(path: Path, data: bytes) -> None:
    """Append to a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
