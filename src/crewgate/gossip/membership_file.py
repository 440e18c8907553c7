"""The state of `QuorumFreshness` on the disk: the members, and whether this machine counts.

A machine that forgot its members would take itself for all there are. Written whole before it is
acted upon, in the folder of the capsules: whoever empties that empties both.
"""

from pathlib import Path

import msgspec

from crewgate.core.gossip.freshness import QuorumFreshness
from crewgate.runtime.durable_files import write_file


class MembershipSnapshot(msgspec.Struct, frozen=True):
    """As it was last known; of the others, for whose disk it is may not be known yet."""

    members: list[bytes]
    counted: list[bytes]
    counts: bool


class MembershipFile:
    """One file; OSError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: MembershipSnapshot | None = None

    def __repr__(self) -> str:
        return f"<MembershipFile {self._path.name}>"

    @property
    def counts(self) -> bool:
        """Whether the disk says that this machine does."""
        return self._saved is not None and self._saved.counts

    def restore(self, freshness: QuorumFreshness) -> None:
        """Take it up; nothing where there is none, or a torn one: this machine begins anew."""
        try:
            found = msgspec.msgpack.decode(self._path.read_bytes(), type=MembershipSnapshot)
        except (OSError, msgspec.DecodeError):
            return
        freshness.counts = freshness.counts or found.counts
        freshness.merge(found.members, found.counted)
        self._saved = found

    def save(self, freshness: QuorumFreshness, *, is_complete: bool = True) -> None:
        """Write it if it is another, and wait until the disk has it.

        Only where all that was heard `is_complete` on the disk, it says that this machine counts
        from now on: others may rely on what was acknowledged before that.
        """
        standing = MembershipSnapshot(
            list(freshness.others),
            [each for each in freshness.counted if each in freshness.others],
            freshness.counts and (is_complete or self.counts),
        )
        if standing == self._saved:
            return
        write_file(self._path, msgspec.msgpack.encode(standing), 0o600)
        self._saved = standing


def demote(path: Path) -> None:
    """Say on a disk that was put back from a copy that its machine counts no more; OSError.

    It may have acknowledged what the copy lacks, so it catches up first. A machine that knows of no
    other cannot catch up, and goes on.
    """
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=MembershipSnapshot)
    except (FileNotFoundError, msgspec.DecodeError):
        return
    if found.members and found.counts:
        data = msgspec.msgpack.encode(msgspec.structs.replace(found, counts=False))
        write_file(path, data, 0o600)
