"""Decides which of two machines sends its certificate revocation list (CRL) to the other.

Both decide this from the other's first message, so neither asks. The machine that receives a CRL
checks its content and the signature of the CA itself (`LocalCRL`).
"""

from typing import Annotated, Protocol

import msgspec

from crewgate import limits


class CRLVersion(msgspec.Struct, frozen=True, array_like=True):
    """The CRL of a machine: its number, and the key that signed it (8 bytes). 0: it has none.

    `takes` says whether the machine wants a newer CRL. The machine that signs the CRL does not.
    """

    authority: Annotated[bytes, msgspec.Meta(max_length=8)] = b""
    number: Annotated[int, msgspec.Meta(ge=0, le=limits.crl_number_max)] = 0
    takes: bool = False

    def is_for(self, other: "CRLVersion") -> bool:
        """Return whether the machine with this CRL sends it to the machine with the `other` one."""
        if not other.takes or not self.number:
            return False
        return not other.number or (
            self.authority == other.authority and self.number > other.number
        )


NO_LIST = CRLVersion()


class LocalCRL(Protocol):
    """The CRL of one machine. Each method may block on its disk, and any thread may call it."""

    def version(self, member: bytes) -> CRLVersion:
        """Return which CRL the machine has now and can send, for the hello to `member`."""

    def data(self) -> bytes:
        """Return this CRL as DER."""

    def take(self, data: bytes, member: bytes) -> None:
        """Keep a CRL of `member` if it is good and newer; otherwise `take_message` says why not.

        After a bad CRL, the machine takes none from this member for a while.
        """

    def take_message(self) -> str:
        """Return sentences for the log that are new since the last call, or an empty text."""
