"""A small file whose space is reserved, so that it can be rewritten on a full disk.

It has two slots. Each write overwrites the slot with the older content in place and syncs, so that
a power loss during a write leaves the previous content. Blocks; one writer at a time.
"""

import errno
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

from crewgate.runtime.durable_files import overwrite, write_file

# Number of the write, length of the content, SHA-256 of number and content.
_HEAD = struct.Struct(">QI32s")
_NEVER = bytes(_HEAD.size)


class ReservedFile:
    """The file at `path`, which reserves space for `size` bytes of content."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size
        self._slot = _HEAD.size + size
        self._number = 0  # number of the last write

    def read(self) -> bytes:
        """Return the newest complete content; empty if there is none. OSError, ValueError."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        # Another version of this program may have used another size.
        half = len(data) // 2
        slots = [data[:half], data[half:]]
        found = dict(_whole(slots))
        if not found and all(slot[: _HEAD.size] != _NEVER for slot in slots):
            raise ValueError("it is damaged")
        self._number = max(found, default=0)
        return found.get(self._number, b"")

    def reserve(self) -> bool:
        """Reserve the space, unless it is; return whether the file is new and empty. OSError."""
        try:
            is_whole = self.path.stat().st_size == 2 * self._slot
        except FileNotFoundError:
            is_whole = False
        if not is_whole:
            write_file(self.path, bytes(2 * self._slot), 0o600)
        return not is_whole

    def write(self, content: bytes) -> None:
        """Write durably. If this raises OSError, the previous content is still there."""
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
