"""A small file that takes a new content on a full disk too: its room is taken beforehand.

Two slots, of which each new content takes the older one, so that a power loss in the midst leaves
the content before it. Written in place and synced. Blocks; one writer at a time.
"""

import errno
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

from crewgate.runtime.durable_files import overwrite, write_file

_HEAD = struct.Struct(">QI32s")  # number of the write, bytes of content, SHA-256 of all else
_NEVER = bytes(_HEAD.size)


class ReservedFile:
    """The file at `path`, which has room for `size` bytes of content."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size
        self._slot = _HEAD.size + size
        self._number = 0  # of the last write

    def read(self) -> bytes:
        """The last content that was written whole; empty where none was. OSError, ValueError."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        half = len(data) // 2  # another version may have had another size
        slots = [data[:half], data[half:]]
        found = dict(_whole(slots))
        if not found and all(slot[: _HEAD.size] != _NEVER for slot in slots):
            raise ValueError("it is damaged")
        self._number = max(found, default=0)
        return found.get(self._number, b"")

    def reserve(self) -> bool:
        """Take the room; whether it was not taken, and then nothing is written there. OSError."""
        try:
            is_whole = self.path.stat().st_size == 2 * self._slot
        except FileNotFoundError:
            is_whole = False
        if not is_whole:
            write_file(self.path, bytes(2 * self._slot), 0o600)
        return not is_whole

    def write(self, content: bytes) -> None:
        """On the disk when this returns; OSError, and then the content before it stands."""
        if len(content) > self._size:
            raise OSError(errno.EFBIG, f"over {self._size} bytes", str(self.path))
        self.reserve()
        number = self._number + 1
        data = _HEAD.pack(number, len(content), _digest(number, content)) + content
        overwrite(self.path, number % 2 * self._slot, data)
        self._number = number


def _whole(slots: list[bytes]) -> Iterator[tuple[int, bytes]]:
    for slot in slots:
        if len(slot) < _HEAD.size:
            continue
        number, size, digest = _HEAD.unpack_from(slot)
        content = slot[_HEAD.size : _HEAD.size + size]
        if len(content) == size and digest == _digest(number, content):
            yield number, content


def _digest(number: int, content: bytes) -> bytes:
    return hashlib.sha256(number.to_bytes(8) + content).digest()
