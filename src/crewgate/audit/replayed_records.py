"""Reads calls and grants of many audit files in the order of their times, in bounded memory.

A line is written when its call ends. So the files are merged by that time, and each file is opened
when the times of the others have reached its beginning. Then a bounded heap puts the beginnings and
the ends of calls in order. A call that lasted longer than all that the heap holds begins late.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.core.audit.records import EPOCH, microseconds

_BEGINS, _ENDS = True, False
_BEGINS, _ENDS = True, False
_KIND, _WANTED = b'"kind":"', (b'call"', b'grant"')
_KIND_BYTES_MAX = 1024  # only the name of the machine stands before the kind


class ReplayedRecord(msgspec.Struct, frozen=True, gc=False):
    """What rules on branches depend on of a call or a grant; see `core.audit.records`."""

    kind: str
    time: datetime
    crew: str = ""
    role: str = ""
    branch: str = ""
    ancestry: tuple[str, ...] = ()
    machine: str = ""
    request: str = ""
    tool: str = ""
    verdict: str = ""
    outcome: str = ""
    reason: str = ""
    would: str = ""
    cost_micro: int = 0
    duration_us: int = 0
    status: int = 0
    call_digest: str = ""
    answer_digest: str = ""
    retry_seconds: int = 0
    failed: bool = False
    expires: datetime = EPOCH


class ReadProgress(msgspec.Struct):
    """How much was read: bytes, lines of calls, and lines that are no records."""

    bytes: int = 0
    calls: int = 0
    unreadable_lines: int = 0


class ReplayedCall:
    """A call or a grant. `is_counted`: rules count the answer of the call when it ends."""

    __slots__ = ("is_counted", "record")

    def __init__(self, record: ReplayedRecord) -> None:
        self.record = record
        self.is_counted = False


class CallTime(NamedTuple):
    """The moment, in microseconds since 1970, at which a call begins or ends.

    An end sorts before a beginning of the same time: the client may have waited for the answer.
    """

    us: int
    is_beginning: bool
    number: int
    call: ReplayedCall


_decode = msgspec.json.Decoder(ReplayedRecord).decode


def read_folder(
    folder: Path, progress: ReadProgress, since: datetime | None = None
) -> Iterator[CallTime]:
    """Yield the beginnings and ends of the calls in a folder, and its grants as beginnings."""
    paths = audit_folder.files(folder)
    if since is not None:
        paths = [path for path in paths if _changed(path) >= since.timestamp()]
    records = _merged(paths, progress)
    wanted = (each for each in records if since is None or each.time >= since)
    return in_order(wanted, limits.what_if_calls_max)


def in_order(records: Iterable[ReplayedRecord], calls_max: int) -> Iterator[CallTime]:
    """Yield the beginning and the end of each record, sorted as far as `calls_max` calls reach."""
    heap: list[CallTime] = []
    for number, record in enumerate(records):
        begins, call = microseconds(record.time), ReplayedCall(record)
        heapq.heappush(heap, CallTime(begins, _BEGINS, number, call))
        if record.kind == "call" and record.verdict == "permit":
            # A call ends after its own beginning, also if that took no time.
            ends = begins + max(1, record.duration_us)
            heapq.heappush(heap, CallTime(ends, _ENDS, number, call))
        while len(heap) > 2 * calls_max:
            yield heapq.heappop(heap)
    while heap:
        yield heapq.heappop(heap)


def _merged(paths: list[Path], progress: ReadProgress) -> Iterator[ReplayedRecord]:
    """Yield the records of files by the times at which they were written, about."""
    unopened = [(audit_folder.started_us(path), path) for path in reversed(paths)]
    heads: list[tuple[int, int, ReplayedRecord, Iterator[ReplayedRecord]]] = []
    number = 0

    def take(file: Iterator[ReplayedRecord]) -> None:
        nonlocal number
        record = next(file, None)
        if record is not None:
            number += 1
            heapq.heappush(heads, (_written_us(record), number, record, file))

    while unopened or heads:
        while unopened and (not heads or unopened[-1][0] <= heads[0][0]):
            take(_records(unopened.pop()[1], progress))
        if heads:
            _, _, record, file = heapq.heappop(heads)
            yield record
            take(file)


def _records(path: Path, progress: ReadProgress) -> Iterator[ReplayedRecord]:
    """Yield the calls and grants of a file; a file that is deleted meanwhile has none."""
    try:
        file = path.open("rb", buffering=2**20)
    except FileNotFoundError:
        return
    with file:
        for line in _lines(file.readline):
            progress.bytes += len(line)
            at = line.find(_KIND, 0, _KIND_BYTES_MAX)
            if at < 0 or not line.startswith(_WANTED, at + len(_KIND)):
                progress.unreadable_lines += at < 0 or not line.endswith(b"\n")
                continue
            try:
                record = _decode(line)
            except msgspec.DecodeError:
                progress.unreadable_lines += 1
                continue
            progress.calls += record.kind == "call"
            yield record


def _lines(readline: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield lines, and pieces of a line that is too long for a record."""
    while line := readline(limits.what_if_line_bytes_max):
        yield line


def _written_us(record: ReplayedRecord) -> int:
    return microseconds(record.time) + record.duration_us


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
