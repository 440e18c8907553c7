"""Finds the lines of audit files that have one of some texts, without reading the others as JSON.

A gigabyte takes about a second. A file that is deleted meanwhile has no lines, and neither has a
link or a pipe in the place of a file.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from crewgate import limits
from crewgate.runtime.cleanup import lent

_PIECE = 2**20  # bytes
_IS_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.ENXIO}


def find(path: Path, texts: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the bytes, without its newline, of each line with one of the texts.

    A line that is not whole, or is longer than a record, is none. Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _IS_NO_FILE:
            return
        raise
    with lent(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            yield from _find(descriptor, texts)


def _find(descriptor: int, texts: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    begin, held, is_skipping = 0, b"", False  # `held` begins at byte `begin`
    while piece := os.read(descriptor, _PIECE):
        held += piece
        if is_skipping:
            cut = held.find(b"\n") + 1
            is_skipping = not cut
            begin, held = begin + (cut or len(held)), held[cut:] if cut else b""
        end = held.rfind(b"\n") + 1
        yield from ((begin + at, line) for at, line in _lines(held[:end], texts))
        begin, held = begin + end, held[end:]
        if len(held) > limits.what_if_line_bytes_max:
            begin, held, is_skipping = begin + len(held), b"", True


def _lines(data: bytes, texts: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of `data`, which ends with a newline, in their order."""
    found: dict[int, int] = {}
    for text in texts:
        at = data.find(text)
        while at >= 0:
            end = data.index(b"\n", at)
            found[data.rfind(b"\n", 0, at) + 1] = end
            at = data.find(text, end)
    for begin in sorted(found):
        if found[begin] - begin <= limits.what_if_line_bytes_max:
            yield begin, data[begin : found[begin]]
