"""Sends revocations to the attached processes, which end calls, and to the other machines."""

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
from crewgate.metrics.process_metrics import ProcessMetrics


class RevocationAwaitingAcks(msgspec.Struct, frozen=True):
    """A revocation step that is in the table, and sent to `attachments` processes.

    `remote` has the acknowledgements of other machines; None if none will come.
    """

    results: list[LocalRevocationResult]
    number: int
    pending: PendingAcks
    remote: AckState | None
    attachments: int


class ClusterPeers(Protocol):
    """The other machines, as the agent uses them (`cluster.Cluster`)."""

    def announce(self, entries: Sequence[StoredRevocation]) -> AckState | None:
        """Send revocations; return the acknowledgements to come, or None if none can be had."""

    def pass_on(self, entries: Sequence[capsules.RevocationEntry]) -> None:
        """Send orders that are no revocations and need no acknowledgement."""

    async def run(self) -> None:
        """Take part in the cluster until cancelled."""

    async def wait(self, receipt: AckState, is_enough: Callable[[AckState], bool]) -> None:
        """Wait until there are enough acknowledgements."""

    def end(self, receipt: AckState) -> None:
        """Stop collecting acknowledgements."""

    def own_name(self) -> str:
        """Return the name in the certificate of this machine."""

    def name(self, member: bytes) -> str:
        """Return the name of a member."""

    def load(self, settings: ClusterConfig) -> None:
        """Apply a changed configuration."""

    def synced_until_ns(self) -> int:
        """Return until when (CLOCK_BOOTTIME) this machine knows what a majority knows."""

    def can_sync(self) -> bool:
        """Return whether it lacks only comparisons with members, and not a repair of its own."""

    def record_pending(self) -> None:
        """Write the pending log lines and records; call it once a second."""

    async def ask_seen(self, target: RevocationTarget) -> list[bool]:
        """Return, for the members that answer in time, whether each has ever seen the target."""

    async def runs_of(self, subject: str, crew: str) -> tuple[set[bytes], int]:
        """Return the live runs of a subject that other machines have seen.

        Also return how many machines did not say it in time. See `subject_runs.live_runs`.
        """

    def in_touch(self) -> QuorumSyncState:
        """Return with how many members this machine has compared revocations."""

    def waiting_for(self) -> str:
        """Return what this machine waits for; empty if nothing."""

    def note_metrics(self, metrics: ProcessMetrics) -> None:
        """Set the metrics of the cluster."""

    def incomplete_reason(self) -> str:
        """Return why the cluster state on disk is incomplete; empty if it is complete."""

    def invalid_crls(self) -> str:
        """Return which member's CRL was rejected, and why; empty if none was."""


class RevocationNotifier:
    """Sends revocations. `others` is None without a cluster; `now_ns` is CLOCK_MONOTONIC."""

    def __init__(self, attached: AttachedProcesses, now_ns: Callable[[], int]) -> None:
        self.disconnect_acks = DisconnectAcks()
        self.others: ClusterPeers | None = None
        self._attached = attached
        self._now_ns = now_ns
        # The keys that the attached processes have not been sent yet.
        self._later: list[bytes] = []
        self._has_more = trio.Event()
        # When the next batch may be sent.
        self._next_ns = 0

    def send(self, entries: Sequence[StoredRevocation]) -> tuple[int, PendingAcks, AckState | None]:
        """Return an ID and the acknowledgements, here and elsewhere. The caller must `end` it."""
        number, pending = self.terminate([bytes.fromhex(entry.key) for entry in entries])
        return number, pending, self.others.announce(entries) if self.others and entries else None

    def terminate(self, keys: Sequence[bytes]) -> tuple[int, PendingAcks]:
        """Have the attached processes end the calls of `keys`; return as `DisconnectAcks.begin`."""
        waited_for = {process.number for process in self._attached if process.answers_cuts}
        number, pending = self.disconnect_acks.begin(waited_for)
        notice = RevocationNotice(id=number, keys=list(keys))
        for process in self._attached:
            process.send(notice)
        return number, pending

    def terminate_soon(self, keys: Sequence[bytes]) -> None:
        """Do the same without acknowledgements: at once or, in a storm, many keys together.

        To send to a thousand embedders takes milliseconds, and other machines may revoke hundreds
        of keys a second, so this takes at most half of the time. Workers see the keys in the table.
        """
        self._later += keys
        if self._now_ns() >= self._next_ns:
            self._terminate_later()
        else:
            self._has_more.set()

    async def terminate_loop(self) -> None:
        """Send the keys that had to wait."""
        while True:
            await self._has_more.wait()
            self._has_more = trio.Event()
            await trio.sleep(max(0, self._next_ns - self._now_ns()) / 1e9)
            self._terminate_later()

    def _terminate_later(self) -> None:
        began = self._now_ns()
        keys, self._later = self._later, []
        for at in range(0, len(keys), limits.ipc_revoked_keys_max):
            number, _ = self.terminate(keys[at : at + limits.ipc_revoked_keys_max])
            self.disconnect_acks.end(number)
        now = self._now_ns()
        self._next_ns = now + (now - began)

    def end(self, revocation: RevocationAwaitingAcks) -> None:
        """Stop collecting the acknowledgements of a revocation."""
        self.disconnect_acks.end(revocation.number)
        if self.others is not None and revocation.remote is not None:
            self.others.end(revocation.remote)
