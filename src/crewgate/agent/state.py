"""The state of one machine's agent: all its parts, connected, and the steps that change them.

Every method is one synchronous step: it changes the state and returns or queues the messages about
it, so no change is split by an `await`. It knows no sockets.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from crewgate import limits
from crewgate._native.limit_words import give_words
from crewgate._native.records import BurnedReservation
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.active_config import ActiveConfig, LoadedConfig
from crewgate.agent.anomaly.minting_watch import MintingWatch
from crewgate.agent.audit_checkpoints import AuditCheckpoints
from crewgate.agent.branch_registry import BranchEntry, BranchRegistry
from crewgate.agent.branch_tree.tree_follower import TreeFollower
from crewgate.agent.budget.burned_reservation_audit import BurnedReservationAudit, Cause
from crewgate.agent.budget.draws import Draws
from crewgate.agent.budget.overrun_journal import OverrunJournal, OverrunRecord
from crewgate.agent.ipc_server.attachments import AttachedProcess, AttachedProcesses
from crewgate.agent.ipc_server.nonworker_health_reports import NonWorkerHealthReports
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation import types
from crewgate.agent.revocation.remote_revocations import RemoteRevocations
from crewgate.agent.revocation.revocation_notifier import RevocationAwaitingAcks, RevocationNotifier
from crewgate.agent.revocation.revocation_store import RevocationStore
from crewgate.agent.revocation.types import ClockReading, LocalRevocationResult
from crewgate.agent.system_clock import SystemClock
from crewgate.agent.table_setup import holder_name
from crewgate.agent.tool_pins.pin_files import PinFiles
from crewgate.agent.tool_pins.tool_pins import ToolPins
from crewgate.audit.last_calls import recorded_costs
from crewgate.audit.writer import AuditWriter
from crewgate.config import Config
from crewgate.core.anomaly.results import ProfileSnapshot
from crewgate.core.audit.records import Record, request_text
from crewgate.core.budget.ledger_protocol import CloseBranch
from crewgate.core.health import HealthTracker
from crewgate.core.ids import EntityKind
from crewgate.core.policy.call_limits import LimitScopes
from crewgate.core.policy.policy import Policy
from crewgate.core.revocation_kinds import KINDS, RevocationTarget
from crewgate.errors import InvalidLedgerOperationError, TableError
from crewgate.ipc.attach_messages import Attach, Attached, Reload
from crewgate.leases.lease_client import LeaseClient
from crewgate.ledger.operation_queue import LedgerQueue
from crewgate.metrics.call_totals import CallTotalsReader
from crewgate.runtime.folder_write_probe import FolderWriteProbe

_log = logging.getLogger(__name__)
# The kinds that the ledger closes for good. Old journals do not have the kind (0).
_CLOSED = frozenset({0, *(each.kind for each in KINDS.values() if each.closes_account)})

RecordSink = Callable[[Iterable[Record]], object]


def disks(config: Config) -> dict[str, FolderWriteProbe]:
    """Return the folders to which an agent must be able to write, by their descriptions."""
    folders = {"state folder": config.state, "audit folder": config.audit.folder}
    ledger = config.ledger.file
    if ledger is not None and ledger.parent != config.state:
        folders["ledger's folder"] = ledger.parent
    if config.cluster is not None:
        folders["cluster's folder"] = config.state / "gossip"
    return {name: FolderWriteProbe(folder) for name, folder in folders.items()}


class AgentState:
    """The agent's table, ledger, registry, revocations, attached processes and configuration.

    `record` writes audit records. `audit` is the agent's own audit file, and `checkpoints` are
    those of the audit folder, once they are open.
    `kept_checkpoints` returns what is kept of another machine: number, digest, and when.
    """

    audit: AuditWriter | None = None
    checkpoints: AuditCheckpoints | None = None
    kept_checkpoints: Callable[[str], list[tuple[int, str, float]]] = staticmethod(lambda _: [])

    def __init__(
        self,
        active_config: ActiveConfig,
        table: OwnedTable,
        ledger_queue: LedgerQueue,
        *,
        sink: RecordSink,
        clock: SystemClock,
    ) -> None:
        self.active_config = active_config
        self.table = table
        self.clock = clock
        self.record = sink
        config = active_config.config
        active_config.number(table.life.hex(), table.policy_generation)
        # The registry belongs to one life of the table: a new table has none of its branches.
        self._registry_path = config.state / f"registry-{table.life.hex()[:16]}"
        registry_journal = JournalFile(self._registry_path, BranchEntry)
        self.registry = BranchRegistry(registry_journal, table.geometry.branches)
        self.revocations_journal = JournalFile(config.state / "revocations", types.StoredRevocation)
        self.revocations = RevocationStore(table, self.revocations_journal, self.registry)
        self.revocations.load(active_config.policy.crews)
        self.remote_revocations = RemoteRevocations()
        notes_journal = JournalFile(config.state / "overruns", OverrunRecord)
        self.notes = OverrunJournal(notes_journal, table.life)
        self.ledger_queue = ledger_queue
        holder = holder_name(config)
        self.lease_client = LeaseClient(
            table,
            ledger_queue.ledger,
            active_config.policy,
            holder,
            submit=ledger_queue.submit,
            overdraft_micro_max=config.ledger.overdraft_micro_max,
        )
        self.attribution = BurnedReservationAudit(self.registry)
        watch_journal = JournalFile(config.state / "watch", ProfileSnapshot)
        watched, believed = (watch_journal, self.registry, table), self.believed
        self.minting_watch = MintingWatch(
            *watched, sink=sink, wall_ns=clock.wall_ns, believed=believed
        )
        self.minting_watch.load(config.crews, active_config.policy.tools)
        # Each journal by its name in the health, and the owner of its live records.
        self.journals: dict[str, tuple[JournalFile[Any], Any]] = {
            "registry": (registry_journal, self.registry),
            "revocations": (self.revocations_journal, self.revocations),
            "overruns": (notes_journal, self.notes),
            "watch": (watch_journal, self.minting_watch),
        }
        parts = table, self.lease_client, ledger_queue, self.registry, self.minting_watch
        wait = config.limits.credit_wait_seconds_max
        self.draws = Draws(*parts, wait, read=clock.read)
        self.attached = AttachedProcesses(table)
        self.fanout = RevocationNotifier(self.attached, clock.monotonic_ns)
        self.tool_pins = ToolPins(PinFiles(config.state / "mcp_pins"), self.attached, clock, sink)
        self.health, self.reports = HealthTracker(), NonWorkerHealthReports()
        # What calls have come to on this machine, if `crewgate serve` has started the agent.
        self.call_totals = CallTotalsReader(None)
        self.tree_follower = TreeFollower()
        self.disks = disks(config)
        # Whether the wall clock is steady, and how far it has jumped if not.
        self.steady, self.step_seconds = True, 0.0
        # Whether the log last said that this machine is in touch with the other machines.
        self.in_touch = True
        self.began_ns = clock.boot_ns()
        # The trusted distance from CLOCK_BOOTTIME to the wall clock.
        self.offset_ns = clock.wall_ns() - clock.boot_ns()
        self.ending = False
        self.recalls = 0  # requests of other machines for unused credit

    def restore(self) -> None:
        """Load what the last agent left. Raises OSError or TableError."""
        clocks = self.clock.read()
        self._drop_old_registries()
        self.registry.restore()
        self._take_up_leases(clocks)
        self._take_up_notes(clocks)
        self.minting_watch.restore(clocks)
        self.tool_pins.load(self.active_config.config.pin_policies)
        missing = self.revocations.restore(self.revocations_journal.read(), clocks)
        # The ledger may not have the last closings.
        for entry in self.revocations:
            if entry.before == limits.time_seconds_max and entry.kind in _CLOSED:
                self.ledger_queue.submit(CloseBranch(bytes.fromhex(entry.key)))
        if missing:
            _log.warning(
                "the table has no room for %d revocations: raise [table] revocations", missing
            )
        self.attribution.load(self.active_config.policy, self.clock.wall_ns())
        self.attached.wait_for_inherited(clocks.boot_ns + round(limits.inherited_seconds * 1e9))
        self._put_in_force(self.active_config.policy)

    def _take_up_leases(self, clocks: ClockReading) -> None:
        """Raise TableError if the records are inconsistent: a killed process never causes that."""
        ledger = self.ledger_queue.ledger
        if self.active_config.config.ledger.engine == "sqlite":
            # No other machine draws from this ledger. Any other holder is this machine under an
            # earlier name, so its leases are lost.
            for name, (boot, beat) in ledger.heartbeats().items():
                if name != self.lease_client.holder:
                    ledger.burn(name, boot, beat)
        try:
            self.lease_client.rebuild(*clocks)
        except (InvalidLedgerOperationError, OverflowError, ValueError) as error:
            table = self.active_config.config.state / "table"
            raise TableError(
                f"{table}: damaged: its records contradict one another or the ledger ({error}); "
                "move the file away to start with a new table: the budgets are those of the "
                "ledger, the leases are burned, and the revocations are in a file of their own"
            ) from error

    def _take_up_notes(self, clocks: ClockReading) -> None:
        """Report overruns, and the closings for them, again: the ledger may lack the last ones."""
        self.notes.restore()
        leases = self.ledger_queue.ledger.leases(self.lease_client.holder, self.table.life)
        for key, amount in self.notes.missing(leases).items():
            self.lease_client.overran(key, amount, clocks.boot_ns)
        for key in self.notes.amounts():
            self.ledger_queue.submit(CloseBranch(key))

    @property
    def machine_name(self) -> str:
        """The name of this machine: in a cluster that of its certificate, else in the ledger."""
        others = self.fanout.others
        return self.lease_client.holder if others is None else others.own_name()

    def enter(self, ask: Attach) -> tuple[AttachedProcess, Attached]:
        """Attach a process. Raises TableFullError."""
        process = self.attached.enter(ask)
        process.received_ns = self.clock.boot_ns()
        return process, Attached(
            number=process.number,
            nonce=process.nonce,
            life=self.table.life,
            policy_generation=self.active_config.policy.generation,
        )

    def leave(self, process: AttachedProcess) -> None:
        """Detach a process whose connection has ended, and burn its reservations.

        If this agent ends, the processes keep their numbers and attach to the next agent.
        """
        if self.ending:
            return
        self.fanout.disconnect_acks.left(process)
        self.burn(self.attached.leave(process), "owner-died")

    def burn(self, burned: list[BurnedReservation], cause: Cause) -> None:
        """Write audit records of the reservations that the table has ended."""
        if burned:
            folder = self.active_config.config.audit.folder
            requests = {request_text(each.request) for each in burned}
            recorded = recorded_costs(folder, requests, min(each.started_ns for each in burned))
            now_ns = self.clock.wall_ns()
            self.record(self.attribution.records(burned, cause, now_ns, recorded))

    def revoke(
        self,
        targets: Sequence[RevocationTarget],
        *,
        coarsens: bool = True,
        cause: types.RevocationCause = types.BY_OWNER,
    ) -> RevocationAwaitingAcks:
        """Revoke all targets on this machine; `cause` is who ordered it, and why.

        Raises ServiceRefusedError as `RevocationStore.revoke`.

        When it returns, the table stops new calls in every process. The acknowledgements say when
        the open calls have ended.
        """
        clocks = self.believed()
        results = self.revocations.revoke(targets, clocks, coarsens=coarsens, cause=cause)
        entries = [entry for each in results for entry in each.to_announce]
        return RevocationAwaitingAcks(results, *self.fanout.send(entries), len(self.attached))

    def close(self, results: Iterable[LocalRevocationResult]) -> None:
        """Close the accounts of the revoked targets, as `close_account`."""
        for each in results:
            self.close_account(each.target.kind, bytes.fromhex(each.wanted.key))

    def close_account(self, kind: int, key: bytes) -> None:
        """Have the ledger grant no more credit to a key, for longer than the table remembers.

        A kind without accounts is ignored. This is a step of its own, because to take back a lease
        below a branch may take 10 µs, and there may be many.
        """
        rules = KINDS.get(kind)
        if rules is None or not rules.closes_account:
            return
        if rules.kind is EntityKind.BRANCH:
            self.lease_client.close(key)
        else:
            self.ledger_queue.submit(CloseBranch(key))

    def reload(self, loaded: LoadedConfig) -> None:
        """Activate a new configuration, and notify every attached process."""
        self.active_config.replace(loaded)
        self.active_config.stamp(self.table.life.hex())
        policy = self.active_config.policy
        self.lease_client.load(policy)
        self.revocations.load(policy.crews)
        self.minting_watch.load(loaded.config.crews, policy.tools)
        self.attribution.load(policy, self.clock.wall_ns())
        if self.fanout.others is not None and loaded.config.cluster is not None:
            self.fanout.others.load(loaded.config.cluster)
        self._put_in_force(policy)
        self.tool_pins.load(loaded.config.pin_policies)
        for process in self.attached:
            process.send(Reload(generation=policy.generation))

    def _put_in_force(self, policy: Policy) -> None:
        """Have gates decide by a policy, after its limits on calls have their words in the table.

        Raises TableFullError if there are too few words; `config.validate` lets no such policy in.
        """
        give_words(self.table, *LimitScopes.of(policy).needed(), self.clock.boot_ns())
        self.table.set_policy_generation(policy.generation)

    def believed(self) -> ClockReading:
        """Return both clocks, the wall clock without its jump: other machines have that time."""
        boot = self.clock.boot_ns()
        return ClockReading((boot + self.offset_ns) // 10**9, boot)

    def is_fresh(self) -> bool:
        """Return whether processes may admit calls now."""
        return not self.table.retired and self.table.fresh_until > self.clock.boot_ns()

    def is_synced(self) -> bool:
        """Return whether the table has now what a majority of the members knows."""
        return self.table.synced_until > self.clock.boot_ns()

    def is_joining(self) -> bool:
        """Return whether it began so recently that no other machine has to have answered yet."""
        return self.clock.boot_ns() < self.began_ns + round(limits.staleness_seconds * 1e9)

    def synced_until_ns(self) -> int:
        """Return until when (CLOCK_BOOTTIME) it has; `limits.never_ns` without other members."""
        others = self.fanout.others
        return others.synced_until_ns() if others else limits.never_ns

    def _drop_old_registries(self) -> None:
        """Remove the registries of earlier tables.

        If a power loss brings one back, the next start removes it.
        """
        for path in self.active_config.config.state.glob("registry-*"):
            if path != self._registry_path:
                path.unlink(missing_ok=True)
