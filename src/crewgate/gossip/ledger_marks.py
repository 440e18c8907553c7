"""How far each member's ledger had got, as the member has signed it, kept for it by the others.

A machine whose whole disk was put back from a copy cannot notice: its ledger and its own mark of it
have the same age. The others hand its last mark back when it dials them. Each mark is signed by the
machine that it is about, so a member cannot make one up for another. Decides nothing about ledgers.
A power loss may take the marks of the last minute.
"""

from collections.abc import Callable, Container
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from crewgate import limits
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.runtime.durable_files import write_file

_CONTEXT = b"crewgate ledger mark 1\0"
_Text = Annotated[str, msgspec.Meta(max_length=limits.claim_chars_max)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class SignedLedgerMark(msgspec.Struct, frozen=True, array_like=True):
    """The `LedgerMark` of a machine's own ledger, with the machine's Ed25519 signature."""

    ledger: _Text
    holder: _Text
    count: _Count
    term: _Count
    signature: Annotated[bytes, msgspec.Meta(max_length=64)] = b""

    @property
    def mark(self) -> LedgerMark:
        """What it says."""
        return LedgerMark(self.ledger, self.holder, self.count, self.term)

    def signed(self, cluster: bytes) -> bytes:
        """What its machine signs: a word of one cluster is none in another."""
        unsigned = msgspec.structs.replace(self, signature=b"")
        return _CONTEXT + cluster + msgspec.msgpack.encode(unsigned)


class LedgerMarks:
    """This machine's word, and the last one of each member; a file of `folder` has the others'."""

    def __init__(
        self, folder: Path, cluster: bytes, sign: Callable[[bytes], bytes], public: bytes
    ) -> None:
        """Read what was kept; a file that is torn counts as none."""
        self.own: SignedLedgerMark | None = None
        self._path = folder / "ledger-marks"
        self._cluster = cluster
        self._sign = sign
        self._public = public
        self._kept: dict[bytes, SignedLedgerMark] = {}
        self._written: dict[bytes, SignedLedgerMark] = {}
        self._written_at = -limits.ledger_marks_seconds
        try:
            kept = msgspec.msgpack.decode(
                self._path.read_bytes(), type=dict[bytes, SignedLedgerMark]
            )
        except (OSError, msgspec.DecodeError):
            return
        self._kept, self._written = kept, dict(kept)

    def __repr__(self) -> str:
        return f"<LedgerMarks of {len(self._kept)} members>"

    def update(self, mark: LedgerMark) -> None:
        """What this machine's disk says from now on, for the others."""
        said = SignedLedgerMark(mark.ledger, mark.holder, mark.count, mark.term)
        signature = self._sign(said.signed(self._cluster))
        self.own = msgspec.structs.replace(said, signature=signature)

    def of(self, member: bytes) -> SignedLedgerMark | None:
        """The last word of a member, to be handed back to it."""
        return self._kept.get(member)

    def take(self, member: bytes, public: bytes, said: SignedLedgerMark | None) -> None:
        """A member's word of now: kept unless a later one was heard.

        One that it has signed with another key than its key of now (`public`) is of no use to it.
        """
        if said is None or len(self._kept) > limits.gossip_members_max:
            return
        before = self._kept.get(member)
        is_later = before is None or (said.term, said.count) > (before.term, before.count)
        is_of_use = before is not None and self._is_signed(before, public)
        if (is_later or not is_of_use) and self._is_signed(said, public):
            self._kept[member] = said

    def mine(self, said: SignedLedgerMark | None) -> LedgerMark | None:
        """What was handed back, if this machine has signed it."""
        return said.mark if said is not None and self._is_signed(said, self._public) else None

    def take_turn(self, now: float) -> bool:
        """Whether the caller is to `flush`: at most once a minute, and if there is something."""
        is_late = now - self._written_at >= limits.ledger_marks_seconds
        if not is_late or self._kept == self._written:
            return False
        self._written_at = now
        return True

    def flush(self, members: Container[bytes]) -> None:
        """Have the disk know, and forget who is no member any more; OSError.

        Blocks; what is heard meanwhile is for the next time.
        """
        before = self._kept.copy()
        kept = {member: said for member, said in before.items() if member in members}
        write_file(self._path, msgspec.msgpack.encode(kept), 0o600)
        for member in before.keys() - kept.keys():
            self._kept.pop(member, None)
        self._written = kept

    def _is_signed(self, said: SignedLedgerMark, public: bytes) -> bool:
        try:
            key = Ed25519PublicKey.from_public_bytes(public)
            key.verify(said.signature, said.signed(self._cluster))
        except (InvalidSignature, ValueError):
            return False
        return True
