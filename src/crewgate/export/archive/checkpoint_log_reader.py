"""Reads the checkpoints that the agent of this machine signs, as the log grows. Blocks.

The archive gets the files of the log as they are. What it has of them never says more of a file
than it has of that file, so a verification of it finds any part that is missing.
"""

from contextlib import suppress
from pathlib import Path

from crewgate.audit.checkpoints.checkpoint import FileMark, read
from crewgate.audit.checkpoints.log import log_files
from crewgate.export.archive.object_names import LogPart
from crewgate.limits import archive_part_bytes_max


class CheckpointLogReader:
    """The log in the audit folder, up to the newest whole line. One thread calls the methods.

    `marks` has the newest mark of each file that was there at the newest checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.marks: dict[str, FileMark] = {}
        self._folder = folder
        self._file = ""  # the newest one that has a whole line
        self._offset = 0
        self._ends: dict[str, int] = {}

    def read_on(self) -> None:
        """Read what was added. Raises OSError."""
        files = log_files(self._folder)
        for path in reversed(files):
            if path.name == self._file or self._lines(path, 0)[0]:
                break
        else:
            return
        if path.name != self._file:  # its first checkpoint has all files
            self._file, self._offset, self.marks = path.name, 0, {}
        lines, self._offset = self._lines(path, self._offset)
        for line in lines:
            with suppress(ValueError):
                checkpoint = read(line).checkpoint
                for name in checkpoint.gone:
                    self.marks.pop(name, None)
                self.marks |= {mark.name: mark for mark in checkpoint.files}
        self._ends = {self._file: self._offset}
        for each in files:
            with suppress(FileNotFoundError):  # the agent has just deleted its oldest file
                if each.name < self._file:
                    self._ends[each.name] = each.stat().st_size

    def is_finished(self, name: str) -> bool:
        """Return whether the process that wrote a file had left it."""
        mark = self.marks.get(name)
        return mark is not None and mark.is_finished

    @property
    def newest_file(self) -> str:
        """The file with the newest checkpoint, which begins with one of all files; or empty."""
        return self._file

    def parts(self, first: str, known: dict[str, int]) -> list[LogPart]:
        """Return what follows after the bytes that are `known`, from the file `first` on."""
        found: list[LogPart] = []
        if not first:
            return found
        for file, end in sorted(self._ends.items()):
            begin = known.get(file, 0)
            while first <= file and begin < end:
                upto = min(end, begin + archive_part_bytes_max)
                found.append(LogPart(file, begin, upto))
                begin = upto
        return found

    def _lines(self, path: Path, offset: int) -> tuple[list[bytes], int]:
        """Return the whole lines after an offset, and the offset after them."""
        try:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        whole, found, _ = data.rpartition(b"\n")
        return (whole.split(b"\n"), offset + len(whole) + 1) if found else ([], offset)
