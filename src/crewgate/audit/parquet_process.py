"""Writes a part of an audit file as Parquet: a process of its own.

    python -m crewgate.audit.parquet_process FILE BEGIN END OUT

The export process runs it, so that the engine fills neither its memory nor its core. It reads the
object back before it ends with 0, and prints the number of rows. Exit status 1: standard error says
why there is no object.
"""

import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from crewgate.audit import parquet
from crewgate.audit.file_part import FilePart
from crewgate.errors import AuditReadError
from crewgate.runtime.memory_protection import leave_no_cores

_LEAST_URGENT = 19  # of nice(1)
_PIECE = 2**17  # bytes


def main() -> int:
    """Write one object; return the exit status."""
    leave_no_cores()
    os.nice(_LEAST_URGENT)
    source, begin, end, out = sys.argv[1:]
    part = FilePart(Path(source).name, int(begin), int(end))
    try:
        count = parquet.write(Path(source), part, Path(out))
        is_same = _digest(parquet.lines(Path(out), part)) == _digest(_pieces(Path(source), part))
        why = "" if is_same else "the object that was written has not the lines of the file"
    except (AuditReadError, OSError) as error:
        why = str(error).partition("\n")[0]
    if why:
        sys.stderr.write(f"{why}\n")
        return 1
    sys.stdout.write(f"{count}\n")
    return 0


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
