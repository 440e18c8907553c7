"""The interface of the protocol: the functions that it gets, and the effects that it asks for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.gossip.capsules import Capsule, RevocationEntry
from crewgate.core.gossip.messages import OutgoingDatagram


class CapsuleCrypto(NamedTuple):
    """The cryptographic functions that the protocol needs.

    - `verify(capsule, is_named)` returns whether the origin may sign the capsule, and has signed
      it. If another capsule of the origin names this one, the signature needs no check.
    - `sign` returns this member's signature (64 bytes).
    - `nonce` returns 8 bytes that nobody can guess.
    """

    verify: Callable[[Capsule, bool], bool]
    sign: Callable[[bytes], bytes]
    nonce: Callable[[], bytes]


@dataclass(slots=True)
class ProtocolOutput:
    """What a step of the protocol asks its caller to do.

    - `kept`: capsules to append to the log on the disk. This comes first.
    - `applied`: revocations to enter into the table. `origins` has the member that signed each.
    - `counts`: whether to write to the disk that this member counts, after all earlier capsules.
    - `sends`: messages to send, each with its receiver. They leave after all of the above is done.
    - `alarms`: lines for the log.
    - `receipts`: this member's receipts that have changed.
    - `compare`: members to sync with over a stream.
    """

    kept: list[bytes] = field(default_factory=list)
    applied: list[RevocationEntry] = field(default_factory=list)
    origins: list[bytes] = field(default_factory=list)
    sends: list[OutgoingDatagram] = field(default_factory=list)
    compare: list[bytes] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    receipts: list[AckState] = field(default_factory=list)
    counts: bool = False
