"""Who is to hear of a revocation: the guests of this machine, who cut, and the other machines."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import trio

from crewgate import limits
from crewgate.agent.ipc_server.attachments import AttachedProcesses
from crewgate.agent.revocation.disconnect_acks import DisconnectAcks, PendingAcks
from crewgate.agent.revocation.types import LocalRevocationResult, StoredRevocation
from crewgate.config import ClusterConfig
from crewgate.core.gossip import capsules
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc.attach_messages import RevocationNotice
from crewgate.ipc.cluster_messages import QuorumSyncState


class PendingRevocation(msgspec.Struct, frozen=True):
    """A step that is entered, and on its way to `attachments` processes and other machines."""

    results: list[LocalRevocationResult]
    number: int
    pending: PendingAcks
    remote: AckState | None
    attachments: int


class ClusterPeers(Protocol):
    """The other machines."""

    def announce(self, entries: Sequence[StoredRevocation]) -> AckState | None:
        """Have them hear of it; what they answer, or None if that will not be known."""

    def pass_on(self, entries: Sequence[capsules.RevocationEntry]) -> None:
        """Have them hear of what is no revocation, and asks for no answer."""

    async def wait(self, receipt: AckState, is_enough: Callable[[AckState], bool]) -> None:
        """Until they have answered enough."""

    def end(self, receipt: AckState) -> None:
        """Nobody waits for their answers any more."""

    def name(self, member: bytes) -> str:
        """What a member is called."""

    def load(self, settings: ClusterConfig) -> None:
        """A configuration that was changed."""

    def synced_until_ns(self) -> int:
        """Until when (CLOCK_BOOTTIME) this machine knows what a majority does."""

    def record_pending(self) -> None:
        """Once a second: write down what is to be."""

    async def ask_seen(self, target: RevocationTarget) -> list[bool]:
        """Of some others, whether each has ever seen this; those that answer in time."""

    def in_touch(self) -> QuorumSyncState:
        """With how many of them it has compared what both know."""

    def waiting_for(self) -> str:
        """What keeps it from knowing; empty if nothing does."""

    def incomplete_reason(self) -> str:
        """Why the disk has not all that is known of them; empty if it has."""

    def invalid_crls(self) -> str:
        """Whose list of the revoked is no good, and why; empty if nobody's."""


class RevocationDelivery:
    """Tells all of them; `others` is None where there are none."""

    def __init__(self, attached: AttachedProcesses, now_ns: Callable[[], int]) -> None:
        """`now_ns` is CLOCK_MONOTONIC."""
        self.disconnect_acks = DisconnectAcks()
        self.others: ClusterPeers | None = None
        self._attached = attached
        self._now_ns = now_ns
        self._later: list[bytes] = []  # what is to be cut and was not told yet
        self._is_more = trio.Event()
        self._again_ns = 0

    def send(self, entries: Sequence[StoredRevocation]) -> tuple[int, PendingAcks, AckState | None]:
        """An id, and what to wait for here and elsewhere; `end` it."""
        number, pending = self.terminate([bytes.fromhex(entry.key) for entry in entries])
        return number, pending, self.others.announce(entries) if self.others and entries else None

    def terminate(self, keys: Sequence[bytes]) -> tuple[int, PendingAcks]:
        """Have everybody here cut what these keys name; an id, and what to wait for."""
        waited_for = {process.number for process in self._attached if process.answers_cuts}
        number, pending = self.disconnect_acks.begin(waited_for)
        told = RevocationNotice(id=number, keys=list(keys))
        for process in self._attached:
            process.send(told)
        return number, pending

    def terminate_soon(self, keys: Sequence[bytes]) -> None:
        """The same where nobody waits for it: at once, or in a storm many together.

        A thousand embedders take milliseconds to be told, and others revoke hundreds a second: at
        most half of the time is spent on it. Workers see in the table what they are told late.
        """
        self._later += keys
        if self._now_ns() >= self._again_ns:
            self._terminate_later()
        else:
            self._is_more.set()

    async def terminate_loop(self) -> None:
        """Have cut what had to wait."""
        while True:
            await self._is_more.wait()
            self._is_more = trio.Event()
            await trio.sleep(max(0, self._again_ns - self._now_ns()) / 1e9)
            self._terminate_later()

    def _terminate_later(self) -> None:
        began = self._now_ns()
        keys, self._later = self._later, []
        for at in range(0, len(keys), limits.link_cut_keys_max):
            number, _ = self.terminate(keys[at : at + limits.link_cut_keys_max])
            self.disconnect_acks.end(number)
        now = self._now_ns()
        self._again_ns = now + (now - began)

    def end(self, told: PendingRevocation) -> None:
        """Nobody waits for it any more."""
        self.disconnect_acks.end(told.number)
        if self.others is not None and told.remote is not None:
            self.others.end(told.remote)
