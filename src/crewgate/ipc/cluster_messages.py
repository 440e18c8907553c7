"""The messages of the admin socket about the other machines of a cluster; see `admin_messages`.

Without a `[cluster]` section, the agent refuses these requests with `RequestFailed`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.ipc.attach_messages import Count, Id

# Which machines must have the eviction on disk before the agent answers, as `Until`. "all" is no
# choice, since it would include the evicted machine.
EvictUntil = Literal["", "local", "quorum"]


class GetMembers(msgspec.Struct, frozen=True, tag="ask-members"):
    """A client asks for the machines of this trust domain. Answer: `MembersPage`s."""

    id: Id


class GetMachineClusterStatus(msgspec.Struct, frozen=True, tag="ask-cluster"):
    """A client asks for this machine's state in its cluster. Answer: `MachineClusterStatus`."""

    id: Id


class EvictMember(msgspec.Struct, frozen=True, tag="forget"):
    """An operator evicts a member for good, by the name in its certificates.

    The agent refuses this if the remaining machines have no majority that agrees. With `force` it
    asks no other machine, and forgets the member here at once. Answer: `RevocationReceipt`.
    """

    id: Id
    name: Annotated[str, Meta(min_length=1, max_length=limits.name_chars_max)]
    until: EvictUntil = ""
    force: bool = False


class RotateGroupKeys(msgspec.Struct, frozen=True, tag="rotate-keys"):
    """An operator makes another key for the datagrams of all members, now.

    With `voids`, members use the new key at once, and soon reject datagrams under earlier keys.
    Answer: `GroupKeysRotated`.
    """

    id: Id
    voids: bool = False


class GroupKeysRotated(msgspec.Struct, frozen=True, tag="keys-rotated"):
    """The agent answers `RotateGroupKeys`: `keys` keys decrypt datagrams now.

    After `used_after_seconds`, all members encrypt with the new key.
    """

    id: Id
    keys: Count
    used_after_seconds: Count


class QuorumSyncState(msgspec.Struct, frozen=True):
    """How many other machines this machine has compared its revocations with recently.

    - `members` is the number of all machines, with this one.
    - `compared` of the others were compared recently enough; `needed` must be.
    - `quorum` is "majority" or "any".
    - `counts`: this machine has everything that it ever acknowledged, so it counts for majorities.
    - `ago_seconds` is the age of the oldest needed comparison; None if there are too few.
    - For `synced_seconds` more, this machine may admit calls; None: without an end.
    - `unreached` names the configured peers that it could not join, each with the reason; it is
      empty if the machine knows another one.
    """

    members: Count
    compared: Count
    needed: Count
    quorum: str
    counts: bool
    ago_seconds: float | None
    synced_seconds: float | None
    unreached: list[str] = []


class MemberRow(msgspec.Struct, frozen=True):
    """One machine of the cluster.

    `state` is "here" (this machine), "alive", "suspect", "dead" or "left". `standing` is one of:

    - "counts": its vote counts.
    - "joining": it has not yet compared its revocations with a majority.
    - "waiting": members admit it once the new members before it count.
    - "leaving": it was evicted, and counts until a majority agrees that it goes.
    - "evicted": this machine itself was evicted.

    `compared_seconds` is how long ago this machine compared its revocations with it. `ends` is the
    end of its certificate in seconds since 1970.
    """

    name: str
    address: str
    state: str
    standing: str
    compared_seconds: float | None
    ends: int
    may_revoke: bool


class MembersPage(msgspec.Struct, frozen=True, tag="members-page"):
    """The agent answers `GetMembers` with such pages, this machine first; `last` is the end."""

    id: Id
    rows: list[MemberRow]
    last: bool


class MachineClusterStatus(msgspec.Struct, frozen=True, tag="cluster-status"):
    """The agent answers `GetMachineClusterStatus` with the state of this machine in its cluster.

    - `waiting_for` is empty while this machine may admit calls.
    - `capsules` is the number of signed revocations that it holds.
    - `newest_key_seconds` is the age of the newest key for datagrams; after `next_key_seconds`,
      this machine makes another one if no other machine does.
    - `clock_ahead_seconds` is how far the median of all clocks is ahead of this machine's.
    - `sent`, `received` and `refused` (by reason) count datagrams since the start.
    """

    id: Id
    name: str
    in_touch: QuorumSyncState
    waiting_for: str
    max_staleness_seconds: float
    capsules: Count
    keys: Count
    newest_key_seconds: float | None
    next_key_seconds: float | None
    clock_ahead_seconds: float
    log_complete: bool
    sent: Count
    received: Count
    refused: dict[str, Count]


ClusterRequest = GetMembers | GetMachineClusterStatus | EvictMember | RotateGroupKeys
ClusterResponse = MembersPage | MachineClusterStatus | GroupKeysRotated
