"""What is said of the other machines at the owner's door. As `admin_messages`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.ipc.attach_messages import Count, Id

# By whom it is to be on disk before it is answered. "All" would name the one that is evicted.
EvictUntil = Literal["", "local", "quorum"]


class GetMembers(msgspec.Struct, frozen=True, tag="ask-members"):
    """Who are the machines of this trust domain? Answered by `MembersPage`s."""

    id: Id


class GetClusterStatus(msgspec.Struct, frozen=True, tag="ask-cluster"):
    """How does this machine stand among them? Answer: `ClusterStatus`."""

    id: Id


class EvictMember(msgspec.Struct, frozen=True, tag="forget"):
    """Send a member away for good, by its certificates' name. Answer: `RevocationReceipt`.

    With `force` no other machine is asked whether that is so.
    """

    id: Id
    name: Annotated[str, Meta(min_length=1, max_length=limits.name_chars_max)]
    until: EvictUntil = ""
    force: bool = False


class RotateKeys(msgspec.Struct, frozen=True, tag="rotate-keys"):
    """Make another key for the datagrams of all, now. Answer: `KeysRotated`.

    One that `voids` is used at once, and ends those before it.
    """

    id: Id
    voids: bool = False


class KeysRotated(msgspec.Struct, frozen=True, tag="keys-rotated"):
    """How many keys open datagrams now, and after how long all seal with the new one."""

    id: Id
    keys: Count
    used_after_seconds: Count


class SyncState(msgspec.Struct, frozen=True):
    """With how many others a machine has compared of late what both know, and how many it needs.

    `members` are all, this one too. `ago_seconds` is of the oldest comparison that is needed; None
    if there are too few. For `synced_seconds` more the machine may admit; None: without an end.
    `unreached` are the peers that it is to join, each with why not, while it knows no other.
    """

    members: Count
    compared: Count
    needed: Count
    quorum: str  # "majority" or "any"
    counts: bool  # it has all that it ever acknowledged
    ago_seconds: float | None
    synced_seconds: float | None
    unreached: list[str] = []


class MemberRow(msgspec.Struct, frozen=True):
    """One machine; times are seconds, and `ends` (of its certificate) since the epoch.

    `standing`: it counts; it is joining, until it has compared with a majority; it waits to be
    admitted until those before it have; or it was evicted, and goes once a majority was asked.
    This machine may be the one: it is evicted.
    """

    name: str
    address: str
    state: str  # "here" (this machine), or "alive", "suspect", "dead", "left"
    standing: str  # "counts", "joining", "waiting", "leaving" or "evicted"
    compared_seconds: float | None  # ago
    ends: int
    may_revoke: bool


class MembersPage(msgspec.Struct, frozen=True, tag="members-page"):
    """Some rows, this machine first; `last` ends the answer."""

    id: Id
    rows: list[MemberRow]
    last: bool


class ClusterStatus(msgspec.Struct, frozen=True, tag="cluster-status"):
    """How this machine stands; `waiting_for` is empty while it may admit.

    `clock_ahead_seconds` is the median of all clocks against ours. Datagrams are counted since the
    start, the `refused` by reason.
    """

    id: Id
    name: str
    in_touch: SyncState
    waiting_for: str
    max_staleness_seconds: float
    capsules: Count  # signed revocations that are held
    keys: Count
    newest_key_seconds: float | None  # since it was made
    next_key_seconds: float | None  # until it is this machine's turn to make another
    clock_ahead_seconds: float
    log_complete: bool
    sent: Count
    received: Count
    refused: dict[str, Count]


ClusterRequest = GetMembers | GetClusterStatus | EvictMember | RotateKeys
ClusterResponse = MembersPage | ClusterStatus | KeysRotated
