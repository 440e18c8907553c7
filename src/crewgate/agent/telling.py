"""Who is to hear of a revocation: the guests of this machine, who cut, and the other machines."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from crewgate.agent.cuts import Cuts, Pending
from crewgate.agent.entries import Done, Entry
from crewgate.agent.guests import Guests
from crewgate.config import Cluster
from crewgate.core.gossip import capsules
from crewgate.core.gossip.receipts import Receipt
from crewgate.link.cluster_messages import InTouch
from crewgate.link.messages import Revoked


class Told(msgspec.Struct, frozen=True):
    """A revocation that is entered, and on its way to `attachments` guests and other machines."""

    done: Done
    number: int
    pending: Pending
    abroad: Receipt | None
    attachments: int


class ToldNames(msgspec.Struct, frozen=True):
    """The same of names that are no branches; `unlisted` found no room in the table."""

    unlisted: int
    number: int
    pending: Pending
    abroad: Receipt | None
    attachments: int


class Others(Protocol):
    """The other machines."""

    def tell(self, entries: Sequence[Entry]) -> Receipt | None:
        """Have them hear of it; what they answer, or None if that will not be known."""

    def pass_on(self, entries: Sequence[capsules.Entry]) -> None:
        """Have them hear of what is no revocation, and asks for no answer."""

    async def wait(self, receipt: Receipt, is_enough: Callable[[Receipt], bool]) -> None:
        """Until they have answered enough."""

    def end(self, receipt: Receipt) -> None:
        """Nobody waits for their answers any more."""

    def name(self, member: bytes) -> str:
        """What a member is called."""

    def load(self, settings: Cluster) -> None:
        """A configuration that was changed."""

    def synced_until_ns(self) -> int:
        """Until when (CLOCK_BOOTTIME) this machine knows what a majority does."""

    def look(self) -> None:
        """Once a second: write down what is to be."""

    def in_touch(self) -> InTouch:
        """With how many of them it has compared what both know."""

    def waiting_for(self) -> str:
        """What keeps it from knowing; empty if nothing does."""


class Telling:
    """Tells all of them; `others` is None where there are none."""

    def __init__(self, guests: Guests) -> None:
        self.cuts = Cuts()
        self.others: Others | None = None
        self._guests = guests

    def tell(self, entries: Sequence[Entry]) -> tuple[int, Pending, Receipt | None]:
        """An id, and what to wait for here and elsewhere; `end` it."""
        number, pending = self.cut([bytes.fromhex(entry.key) for entry in entries])
        return number, pending, self.others.tell(entries) if self.others and entries else None

    def cut(self, keys: Sequence[bytes]) -> tuple[int, Pending]:
        """Have everybody here cut what these keys name; an id, and what to wait for."""
        waited_for = {guest.number for guest in self._guests if guest.answers_cuts}
        number, pending = self.cuts.begin(waited_for)
        told = Revoked(id=number, keys=list(keys))
        for guest in self._guests:
            guest.tell(told)
        return number, pending

    def end(self, told: Told | ToldNames) -> None:
        """Nobody waits for it any more."""
        self.cuts.end(told.number)
        if self.others is not None and told.abroad is not None:
            self.others.end(told.abroad)
