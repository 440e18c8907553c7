"""Who is to hear of a revocation: the guests of this machine, who cut, and the other machines."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec
import trio

from crewgate import limits
from crewgate.agent.ipc_server.attachments import Guests
from crewgate.agent.revocation.disconnect_acks import Cuts, Pending
from crewgate.agent.revocation.entries import Done, Entry
from crewgate.config import Cluster
from crewgate.core.gossip import capsules
from crewgate.core.gossip.acknowledgements import Receipt
from crewgate.ipc.attach_messages import Revoked
from crewgate.ipc.cluster_messages import InTouch

SeenTarget = Literal["branch", "grant", "process", "orchestrator"]


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

    async def ask_seen(self, target: SeenTarget, name: str, crew: str) -> list[bool]:
        """Of some others, whether each has ever seen this; those that answer in time."""

    def in_touch(self) -> InTouch:
        """With how many of them it has compared what both know."""

    def waiting_for(self) -> str:
        """What keeps it from knowing; empty if nothing does."""

    def trouble(self) -> str:
        """Why the disk has not all that is known of them; empty if it has."""

    def bad_lists(self) -> str:
        """Whose list of the revoked is no good, and why; empty if nobody's."""


class Telling:
    """Tells all of them; `others` is None where there are none."""

    def __init__(self, guests: Guests, now_ns: Callable[[], int]) -> None:
        """`now_ns` is CLOCK_MONOTONIC."""
        self.cuts = Cuts()
        self.others: Others | None = None
        self._guests = guests
        self._now_ns = now_ns
        self._later: list[bytes] = []  # what is to be cut and was not told yet
        self._is_more = trio.Event()
        self._again_ns = 0

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

    def cut_soon(self, keys: Sequence[bytes]) -> None:
        """The same where nobody waits for it: at once, or in a storm many together.

        A thousand embedders take milliseconds to be told, and others revoke hundreds a second: at
        most half of the time is spent on it. Workers see in the table what they are told late.
        """
        self._later += keys
        if self._now_ns() >= self._again_ns:
            self._cut_later()
        else:
            self._is_more.set()

    async def cut_for_ever(self) -> None:
        """Have cut what had to wait."""
        while True:
            await self._is_more.wait()
            self._is_more = trio.Event()
            await trio.sleep(max(0, self._again_ns - self._now_ns()) / 1e9)
            self._cut_later()

    def _cut_later(self) -> None:
        began = self._now_ns()
        keys, self._later = self._later, []
        for at in range(0, len(keys), limits.link_cut_keys_max):
            number, _ = self.cut(keys[at : at + limits.link_cut_keys_max])
            self.cuts.end(number)
        now = self._now_ns()
        self._again_ns = now + (now - began)

    def end(self, told: Told | ToldNames) -> None:
        """Nobody waits for it any more."""
        self.cuts.end(told.number)
        if self.others is not None and told.abroad is not None:
            self.others.end(told.abroad)
