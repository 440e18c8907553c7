"""Writes parts of audit files as Parquet: a process of its own.

    python -m crewgate.audit.parquet_process

The export process runs it, so that the engine fills neither its memory nor its core. Each line of
standard input is a `ParquetOrder` in JSON; each line of standard output is a `ParquetResult`. The
process reads an object back before it says that it is there. It also compares objects that it finds
in the archive, which anybody may have written. It ends with its standard input.
"""

import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from crewgate.audit import parquet
from crewgate.audit.file_part import FilePart
from crewgate.audit.parquet_order import ParquetOrder, ParquetResult
from crewgate.errors import AuditReadError
from crewgate.runtime.memory_protection import leave_no_cores

_LEAST_URGENT = 19  # of nice(1)
_PIECE = 2**17  # bytes


def main() -> int:
    """Write objects until the input ends; return the exit status."""
    leave_no_cores()
    os.nice(_LEAST_URGENT)
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=ParquetOrder)
        sys.stdout.buffer.write(msgspec.json.encode(answer(order)) + b"\n")
        sys.stdout.buffer.flush()
    return 0


def answer(order: ParquetOrder) -> ParquetResult:
    """Do what an order says."""
    return compared(order) if order.is_there else written(order)


def compared(order: ParquetOrder) -> ParquetResult:
    """Compare an object that is there with the file: its lines, and the columns made of them."""
    try:
        own = _digest(_pieces(Path(order.folder) / order.part.file, order.part))
    except OSError as error:
        return ParquetResult(why=str(error), is_unread=True)
    try:
        found = _digest(parquet.lines(Path(order.out), order.part, with_members=True))
    except (AuditReadError, OSError) as error:
        return ParquetResult(why=str(error).partition("\n")[0])
    return ParquetResult(why="" if found == own else "it has other lines")


def written(order: ParquetOrder) -> ParquetResult:
    """Write an object, and compare it with the file."""
    part, out = order.part, Path(order.out)
    source = Path(order.folder) / part.file
    try:
        count = parquet.write(source, part, out)
        is_same = _digest(parquet.lines(out, part)) == _digest(_pieces(source, part))
    except (AuditReadError, OSError) as error:
        return ParquetResult(why=str(error).partition("\n")[0])
    why = "" if is_same else "the object that was written has not the lines of the file"
    return ParquetResult(count, why)


def _digest(pieces: Iterator[bytes]) -> bytes:
    found = sha256()
    for piece in pieces:
        found.update(piece)
    return found.digest()


def _pieces(source: Path, part: FilePart) -> Iterator[bytes]:
    with parquet.open_regular(source) as file:
        file.seek(part.begin)
        left = part.size
        while left and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


if __name__ == "__main__":
    sys.exit(main())
