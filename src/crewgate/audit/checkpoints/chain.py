"""Reads the checkpoints of a folder as one chain, and notes where they are none."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.checkpoint import Checkpoint, FileMark, SignedCheckpoint, read
from crewgate.audit.checkpoints.findings import Finding, FindingKind, HeldCheckpoint
from crewgate.audit.checkpoints.log import lines, log_files


class Gone(NamedTuple):
    """A file that checkpoint `number` no longer found at `time`; None: no checkpoint has noted it.

    `elder` is the youngest file that began before it, had been left by its process, and was still
    there. Retention deletes such files first.
    """

    mark: FileMark
    time: datetime | None
    elder: str | None
    number: int


class _OtherKeyRun(NamedTuple):
    """The checkpoints `first` to `last` in a file of the log, which another `key` has signed."""

    file: str
    key: str
    first: int
    last: int

    @property
    def finding(self) -> Finding:
        which = f"checkpoint {self.first} is"
        if self.first != self.last:
            which = f"checkpoints {self.first} to {self.last} are"
        why = f"{which} signed by another key, {self.key}; compare it with the key you noted"
        return Finding(FindingKind.LOG, self.file, why)

    def goes_on_with(self, other: "_OtherKeyRun") -> bool:
        is_same = (self.file, self.key) == (other.file, other.key)
        return is_same and other.first == self.last + 1


class Chain:
    """The checkpoints of the log, one after another, and the newest mark of each file.

    Attributes:
        marks: The newest mark of each file that was there at the last checkpoint, by its name.
        gone: The files that a checkpoint no longer found.
        left: Of an archive, files in audit folders that the configuration named before.
        findings: Where the checkpoints are not one chain, and which files they have too late.
        count: The number of checkpoints that one of the keys has signed; `first` has this number.
        since: The time of the first one.
        until: The time of the last one.
    """

    def __init__(self, folder: Path, keys: Collection[str]) -> None:
        self.marks: dict[str, FileMark] = {}
        self.gone: dict[str, Gone] = {}
        self.findings: list[Finding] = []
        self.count = self.first = 0
        self.since: datetime | None = None
        self.until: datetime | None = None
        self._folder, self._keys = folder, keys
        self._before: SignedCheckpoint | None = None
        self._is_archive = False
        self.left: set[str] = set()
        self._finished_in: dict[str, int] = {}  # the number of the first such checkpoint
        self._other_key_run: _OtherKeyRun | None = None

    def read(
        self,
        held: Sequence[HeldCheckpoint],
        others: Sequence[Path],
        *,
        is_copy: bool,
        is_behind: bool = False,
    ) -> None:
        """Read the log, and note each of `held` that neither it nor the log in one of `others` has.

        `is_copy`: the oldest files of the log may be missing. `is_behind`: so may the newest
        checkpoints, and those of several audit folders follow one another, as in an archive.
        """
        self._is_archive = is_behind
        is_pruned = is_copy or len(log_files(self._folder)) >= limits.audit_checkpoint_files_max
        missing = {(each.number, each.digest) for each in held}
        for path, line in log_lines(self._folder):
            try:
                signed = read(line.removesuffix(b"\n"))
            except ValueError as error:
                if line.endswith(b"\n"):  # it is not torn
                    self._add(path, f"a line is no checkpoint: {error}")
                continue
            if self._is_good(path, signed, is_pruned=is_pruned):
                self._take(signed)
                missing.discard((signed.checkpoint.number, signed.digest))
        for folder in others if missing else ():
            missing -= self._signed_in(folder)
        for each in held:
            is_within = self.first <= each.number and (not is_behind or each.number <= self.last)
            if (each.number, each.digest) in missing and is_within:
                when = "" if each.since is None else f" since {each.since:%Y-%m-%d %H:%M:%S} UTC"
                why = f"it lacks checkpoint {each.number}, which {each.holder} has known{when}"
                self._add(self._folder, why)

    def times_of(self, name: str) -> Iterator[tuple[datetime, FileMark]]:
        """Yield the marks of a file, the oldest first, with the times of their checkpoints."""
        for _, line in log_lines(self._folder):
            if name.encode() not in line:
                continue
            try:
                signed = read(line.removesuffix(b"\n"))
            except ValueError:
                continue
            checkpoint = signed.checkpoint
            if signed.is_signed and checkpoint.key in self._keys:
                marks = (mark for mark in checkpoint.files if mark.name == name)
                yield from ((checkpoint.time, mark) for mark in marks)

    @property
    def last(self) -> int:
        """The number of the newest checkpoint; 0 without one."""
        return 0 if self._before is None else self._before.checkpoint.number

    def is_finished_before(self, name: str, number: int) -> bool:
        """Whether a process had left a file well before checkpoint `number`."""
        return self._finished_in.get(name, number) < number - 1

    def _signed_in(self, folder: Path) -> set[tuple[int, str]]:
        found = set()
        for _, line in log_lines(folder):
            with suppress(ValueError):
                signed = read(line.removesuffix(b"\n"))
                if signed.is_signed and signed.checkpoint.key in self._keys:
                    found.add((signed.checkpoint.number, signed.digest))
        return found

    def _is_good(self, path: Path, signed: SignedCheckpoint, *, is_pruned: bool) -> bool:
        checkpoint, before = signed.checkpoint, self._before
        if not signed.is_signed:
            self._add(path, f"the signature of checkpoint {checkpoint.number} is wrong")
            return False
        if checkpoint.key not in self._keys:
            self._note_other_key(path, checkpoint)
            return False
        if before is None:
            if not checkpoint.is_full:
                self._add(path, f"the log begins in the middle, at checkpoint {checkpoint.number}")
            elif checkpoint.before and not is_pruned:
                why = f"the log lacks the checkpoints before number {checkpoint.number}"
                self._add(path, why)
        # Numbers between are of another folder, which the configuration named meanwhile.
        elif checkpoint.number <= before.checkpoint.number or (
            checkpoint.before != before.digest and not self._begins_another(checkpoint)
        ):
            numbers = f"{before.checkpoint.number} and {checkpoint.number}"
            self._add(path, f"checkpoints {numbers} do not follow each other")
        return True

    def _note_other_key(self, path: Path, checkpoint: Checkpoint) -> None:
        """Note a checkpoint of another key; several that follow one another are one finding."""
        found = _OtherKeyRun(path.name, checkpoint.key, checkpoint.number, checkpoint.number)
        known = self._other_key_run
        if known is not None and self.findings[-1] == known.finding and known.goes_on_with(found):
            self.findings.pop()
            found = found._replace(first=known.first)
        self._other_key_run = found
        self.findings.append(found.finding)

    def _begins_another(self, checkpoint: Checkpoint) -> bool:
        """Whether an archive goes on with another audit folder, whose first checkpoint this is."""
        return self._is_archive and checkpoint.is_full and not checkpoint.before

    def _take(self, signed: SignedCheckpoint) -> None:
        checkpoint: Checkpoint = signed.checkpoint
        if self._before is not None and self._begins_another(checkpoint):
            self.left |= self.marks.keys()
        else:
            self._find_inserted(checkpoint)
        if self._before is None:
            self.first, self.since = checkpoint.number, checkpoint.time
        self.count += 1
        self.until = checkpoint.time
        self._before = signed
        gone = [mark for name in checkpoint.gone if (mark := self.marks.pop(name, None))]
        for mark in gone:
            elder = self._elder(mark.name, checkpoint.number, self.marks)
            self.gone[mark.name] = Gone(mark, checkpoint.time, elder, checkpoint.number)
        for mark in checkpoint.files:
            known = self.marks.get(mark.name)
            if known is None or mark.bytes >= known.bytes:
                self.marks[mark.name] = mark
            if mark.is_finished:
                self._finished_in.setdefault(mark.name, checkpoint.number)

    def _find_inserted(self, checkpoint: Checkpoint) -> None:
        """Find files that are new in a checkpoint, but whose names say that they are older."""
        if self._before is None:
            return
        before = self._before.checkpoint.time
        if checkpoint.time < before:  # the clock was set back, so new files may have such names
            return
        since = before.timestamp() - limits.audit_checkpoint_late_seconds
        for mark in checkpoint.files:
            if mark.name in self.marks or mark.name in self.gone:
                continue
            if audit_folder.started_us(Path(mark.name)) / 1e6 < since:
                why = f"it was not there at the checkpoint of {before:%Y-%m-%d %H:%M:%S} UTC"
                self.findings.append(Finding(FindingKind.INSERTED, mark.name, why))

    def missing(self, left: Collection[str]) -> dict[str, Gone]:
        """Return the files that are not among those that are `left`."""
        there = [name for name in self.marks if name in left]
        number = self.last + 1
        found = {
            name: Gone(mark, None, self._elder(name, number, there), number)
            for name, mark in self.marks.items()
            if name not in left
        }
        return self.gone | found

    def _elder(self, name: str, number: int, there: Iterable[str]) -> str | None:
        """Return `Gone.elder` of a file that checkpoint `number` no longer finds.

        The checkpoint before may have found it, and seen later that the elder was finished.
        """
        start = audit_folder.started_us(Path(name))
        elders = [
            (began, each)
            for each in there
            if self.is_finished_before(each, number)
            and (began := audit_folder.started_us(Path(each))) < start
        ]
        return max(elders)[1] if elders else None

    def _add(self, path: Path, why: str) -> None:
        self.findings.append(Finding(FindingKind.LOG, path.name, why))


def log_lines(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each line of the log, as `lines` does, with its file."""
    for path in log_files(folder):
        with suppress(FileNotFoundError):  # the gateway has just deleted its oldest file
            for line in lines(path):
                yield path, line
