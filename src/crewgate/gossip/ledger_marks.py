"""Keeps for each other member a signed mark: how far the ledger of that member had got.

A machine whose whole disk was restored from a copy cannot notice this alone, because its ledger and
its own mark have the same age. When it connects to another member, that member returns its last
mark. The machine itself signs its mark, so no other member can make one up. A power loss may take
the marks of the last minute. The module decides nothing about ledgers.
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
        """The mark without the signature."""
        return LedgerMark(self.ledger, self.holder, self.count, self.term)

    def signed(self, cluster: bytes) -> bytes:
        """Return the bytes to sign; so a mark of one cluster is not valid in another."""
        unsigned = msgspec.structs.replace(self, signature=b"")
        return _CONTEXT + cluster + msgspec.msgpack.encode(unsigned)


class LedgerMarks:
    """The mark of this machine, and the last mark of each other member (also in a file)."""

    def __init__(
        self, folder: Path, cluster: bytes, sign: Callable[[bytes], bytes], public: bytes
    ) -> None:
        """Read the marks in `folder`; a damaged file counts as none."""
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

    def update(self, mark: LedgerMark) -> None:
        """Sign a mark of this machine's ledger, to be sent to the other members from now on."""
        unsigned = SignedLedgerMark(mark.ledger, mark.holder, mark.count, mark.term)
        signature = self._sign(unsigned.signed(self._cluster))
        self.own = msgspec.structs.replace(unsigned, signature=signature)

    def of(self, member: bytes) -> SignedLedgerMark | None:
        """Return the last mark of a member, to be sent back to it, or None."""
        return self._kept.get(member)

    def take(self, member: bytes, public: bytes, mark: SignedLedgerMark | None) -> None:
        """Keep the present mark of a member, unless a later one is kept.

        `public` is its present key. A mark that another key has signed is of no use to the member.
        """
        if mark is None or len(self._kept) > limits.gossip_members_max:
            return
        kept = self._kept.get(member)
        is_later = kept is None or (mark.term, mark.count) > (kept.term, kept.count)
        is_of_use = kept is not None and self._is_signed(kept, public)
        if (is_later or not is_of_use) and self._is_signed(mark, public):
            self._kept[member] = mark

    def mine(self, mark: SignedLedgerMark | None) -> LedgerMark | None:
        """Return a mark that another member has sent back, if this machine has signed it."""
        return mark.mark if mark is not None and self._is_signed(mark, self._public) else None

    def take_turn(self, now: float) -> bool:
        """Return whether the caller must `flush`: if marks have changed, once a minute at most."""
        is_late = now - self._written_at >= limits.ledger_marks_seconds
        if not is_late or self._kept == self._written:
            return False
        self._written_at = now
        return True

    def flush(self, members: Container[bytes]) -> None:
        """Write the marks to the disk, and forget those of others than `members`. Raises OSError.

        Blocks. The next flush writes the marks that arrive meanwhile.
        """
        before = self._kept.copy()
        kept = {member: mark for member, mark in before.items() if member in members}
        write_file(self._path, msgspec.msgpack.encode(kept), 0o600)
        for member in before.keys() - kept.keys():
            self._kept.pop(member, None)
        self._written = kept

    def _is_signed(self, mark: SignedLedgerMark, public: bytes) -> bool:
        try:
            key = Ed25519PublicKey.from_public_bytes(public)
            key.verify(mark.signature, mark.signed(self._cluster))
        except (InvalidSignature, ValueError):
            return False
        return True
