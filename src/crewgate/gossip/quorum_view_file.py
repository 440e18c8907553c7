"""Stores the view of `QuorumFreshness` on the disk: the members, and whether this machine counts.

A machine that forgot its members would take itself for the only one. The machine writes the whole
file before it acts on a new view. The file is in the folder of the capsules: if somebody empties
this folder, both are gone.
"""

from pathlib import Path

import msgspec

from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.runtime.durable_files import write_file


class QuorumView(msgspec.Struct, frozen=True):
    """The view as last written, without this machine, whose id may be unknown when it is read."""

    members: list[bytes]
    counted: list[bytes]
    counts: bool


class QuorumViewFile:
    """The file with the last `QuorumView`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: QuorumView | None = None

    @property
    def counts(self) -> bool:
        """Whether this machine counts, by its disk."""
        return self._saved is not None and self._saved.counts

    def restore(self, freshness: QuorumFreshness) -> None:
        """Merge the file into `freshness`. With no file, or a damaged one, the view stays empty."""
        try:
            found = msgspec.msgpack.decode(self._path.read_bytes(), type=QuorumView)
        except (OSError, msgspec.DecodeError):
            return
        freshness.counts = freshness.counts or found.counts
        freshness.merge(found.members, found.counted)
        self._saved = found

    def save(self, freshness: QuorumFreshness, *, is_complete: bool = True) -> None:
        """Write the view if it has changed, and wait until the disk has it. Raises OSError.

        `is_complete` says that the disk has all capsules that this machine has accepted. If not,
        the file does not begin to say that this machine counts: others would rely on what it may
        lose.
        """
        snapshot = QuorumView(
            list(freshness.others),
            [each for each in freshness.counted if each in freshness.others],
            freshness.counts and (is_complete or self.counts),
        )
        if snapshot == self._saved:
            return
        write_file(self._path, msgspec.msgpack.encode(snapshot), 0o600)
        self._saved = snapshot


def demote(path: Path) -> None:
    """Write into a file that was restored from a backup that its machine does not count.

    The machine may have acknowledged capsules that the backup lacks, so it must catch up first. A
    machine that knows no other member cannot catch up, and still counts. Raises OSError.
    """
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=QuorumView)
    except (FileNotFoundError, msgspec.DecodeError):
        return
    if found.members and found.counts:
        data = msgspec.msgpack.encode(msgspec.structs.replace(found, counts=False))
        write_file(path, data, 0o600)
