"""What the protocol is given, and what it asks for: the whole of its dealings with the world."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.gossip.capsules import Capsule, RevocationEntry
from crewgate.core.gossip.messages import OutgoingDatagram


class CapsuleCrypto(NamedTuple):
    """What of it the protocol needs.

    `verify` says whether a capsule's origin may revoke, and has signed it: which is known of one
    that is named (True) by another of that origin. `sign` signs for this member (64 bytes); `nonce`
    gives 8 bytes that nobody can guess.
    """

    verify: Callable[[Capsule, bool], bool]
    sign: Callable[[bytes], bytes]
    nonce: Callable[[], bytes]


@dataclass(slots=True)
class ProtocolEffects:
    """What a step asks of its caller, in this order.

    `kept` are capsules for the disk, `applied` revocations for the table, each by the
    member at its place in `origins`, `sends` messages by
    member, `compare` members to sync with over a stream, `alarms` what a person should hear,
    `receipts` those of our own that have changed. `counts`: remember for good that we do, once all
    that was `kept` before is on the disk.
    """

    kept: list[bytes] = field(default_factory=list)
    applied: list[RevocationEntry] = field(default_factory=list)
    origins: list[bytes] = field(default_factory=list)
    sends: list[OutgoingDatagram] = field(default_factory=list)
    compare: list[bytes] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    receipts: list[AckState] = field(default_factory=list)
    counts: bool = False
