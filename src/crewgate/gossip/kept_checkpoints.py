"""Keeps of each other member checkpoints of its audit: the first of each hour, and the newest.

A machine whose owner signs the past anew has other checkpoints at these numbers. The sync session
proves which member says so, so no other member can make one up. A power loss may take the
checkpoints of the last minute. The module reads no audit.
"""

from collections.abc import Container
from pathlib import Path
from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.runtime.durable_files import write_file

_HOUR = 3600


class CheckpointHead(msgspec.Struct, frozen=True, array_like=True):
    """The newest checkpoint of a machine's audit: its number, and the SHA-256 of its line (hex)."""

    number: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    digest: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class KeptCheckpoint(msgspec.Struct, frozen=True, array_like=True):
    """A checkpoint of a member, and when this machine heard of it: seconds since 1970."""

    number: int
    digest: str
    heard: float


class KeptCheckpoints:
    """The newest checkpoint of this machine, and those of each other member (also in a file)."""

    def __init__(self, folder: Path) -> None:
        """Read the checkpoints in `folder`; a damaged file counts as none."""
        self.own: CheckpointHead | None = None
        self._path = folder / "audit-checkpoints"
        self._kept: dict[bytes, list[KeptCheckpoint]] = {}
        self._has_changed = False
        self._written_at = -limits.kept_checkpoints_seconds
        try:
            self._kept = msgspec.msgpack.decode(
                self._path.read_bytes(), type=dict[bytes, list[KeptCheckpoint]]
            )
        except (OSError, msgspec.DecodeError):
            return

    def of(self, member: bytes) -> list[KeptCheckpoint]:
        """Return what is kept of a member, the oldest first."""
        return [*self._kept.get(member, ())]

    def take(self, member: bytes, head: CheckpointHead | None, wall: float) -> None:
        """Keep a member's newest checkpoint, of which it has spoken at `wall`."""
        if head is None or len(self._kept) > limits.gossip_members_max:
            return
        kept = self._kept.setdefault(member, [])
        new = KeptCheckpoint(head.number, head.digest, wall)
        if kept and (kept[-1].number, kept[-1].digest) == (new.number, new.digest):
            return
        # Numbers that do not rise are of another chain. Few of them are kept of an hour: a member
        # that says new ones all the time must not have its past forgotten.
        *_, before, last = [new, new, *kept]
        is_rising = before.number < last.number < new.number
        if (is_rising and _hour(before) == _hour(last)) or (
            len(kept) >= limits.kept_checkpoints_hour_max
            and all(_hour(each) == _hour(new) for each in kept[-limits.kept_checkpoints_hour_max :])
        ):
            kept.pop()
        kept.append(new)
        del kept[: -limits.kept_checkpoints_max]
        self._has_changed = True

    def take_turn(self, now: float) -> bool:
        """Return whether the caller must `flush`: if some are new, once a minute at most."""
        if not self._has_changed or now - self._written_at < limits.kept_checkpoints_seconds:
            return False
        self._written_at = now
        return True

    def flush(self, members: Container[bytes]) -> None:
        """Write all to the disk, and forget those of others than `members`. Raises OSError.

        Blocks.
        """
        self._has_changed = False  # before: what arrives meanwhile is for the next flush
        kept = {member: [*each] for member, each in self._kept.copy().items() if member in members}
        try:
            write_file(self._path, msgspec.msgpack.encode(kept), 0o600)
        except OSError:
            self._has_changed = True
            raise
        for member in self._kept.keys() - kept.keys():
            self._kept.pop(member, None)


def _hour(each: KeptCheckpoint) -> int:
    return int(each.heard) // _HOUR
