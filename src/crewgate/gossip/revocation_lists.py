"""Which list of the revoked a machine has, and which of two machines hands its own to the other.

Both know this from each other's first message, so neither asks. The machine itself judges what a
list says, and whether the CA has signed it (`CRLExchange`).
"""

from typing import Annotated, Protocol

import msgspec

from crewgate import limits


class CRLVersion(msgspec.Struct, frozen=True, array_like=True):
    """A list: its number, and the key that signed it (8 bytes). Number 0: there is none.

    `takes` says whether its machine keeps a newer one: the machine that signs the list does not.
    """

    authority: Annotated[bytes, msgspec.Meta(max_length=8)] = b""
    number: Annotated[int, msgspec.Meta(ge=0, le=limits.crl_number_max)] = 0
    takes: bool = False

    def is_for(self, other: "CRLVersion") -> bool:
        """Whether the machine with this list hands it to the machine with the `other` one."""
        if not other.takes or not self.number:
            return False
        return not other.number or (
            self.authority == other.authority and self.number > other.number
        )


NO_LIST = CRLVersion()


class CRLExchange(Protocol):
    """The list of one machine. Each method may block on its disk, and any thread may call it."""

    def version(self, member: bytes) -> CRLVersion:
        """Which one it has now, if it can be handed over; as `member` is told of it."""

    def data(self) -> bytes:
        """That list, as DER."""

    def take(self, data: bytes, member: bytes) -> None:
        """Another one: kept if it is good and newer. What is wrong with it is `news`.

        A member whose list was no good is told for a while that this machine takes none.
        """

    def take_message(self) -> str:
        """A sentence for a person that was not said before, or nothing."""


class NoCRLExchange:
    """A machine that neither has a list nor wants one."""

    def version(self, member: bytes) -> CRLVersion:  # noqa: ARG002 - as `CRLExchange`
        """None."""
        return NO_LIST

    def data(self) -> bytes:
        """Nothing."""
        return b""

    def take(self, data: bytes, member: bytes) -> None:
        """Not wanted."""

    def take_message(self) -> str:
        """Nothing."""
        return ""
