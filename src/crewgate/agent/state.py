"""All that one machine's agent holds, wired together, and what may be done to it.

Every method is one plain step: it changes state and returns or queues what is to be said, so no
change ever straddles an await. Knows no sockets.
"""

from collections.abc import Callable, Iterable, Sequence

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate._native.records import Burned
from crewgate.agent import branch_registry as registry_
from crewgate.agent.active_config import InForce, Loaded
from crewgate.agent.anomaly.minting_watch import Watching
from crewgate.agent.branch_registry import Registry
from crewgate.agent.budget.burn_records import Attribution, Cause
from crewgate.agent.budget.draws import Draws
from crewgate.agent.budget.overrun_journal import Note, Notes
from crewgate.agent.ipc_server.attachments import Guest, Guests
from crewgate.agent.ipc_server.health_reports import Reports
from crewgate.agent.journal import Journal
from crewgate.agent.revocation import entries
from crewgate.agent.revocation.entries import Clocks, Done
from crewgate.agent.revocation.fanout import Telling, Told, ToldNames
from crewgate.agent.revocation.revocations import Revocations
from crewgate.agent.system_clock import Clock
from crewgate.agent.table_setup import holder_name
from crewgate.audit.disk_probe import Disk
from crewgate.audit.writer import Writer
from crewgate.config import Config
from crewgate.core.anomaly.transitions import Saved
from crewgate.core.audit.records import Record
from crewgate.core.budget.ledger_protocol import Close
from crewgate.core.health import Health
from crewgate.core.ids import Kind, table_key
from crewgate.errors import LedgerError, TableError
from crewgate.ipc.admin_messages import Name, Target
from crewgate.ipc.attach_messages import Attach, Attached, Draw, Reload
from crewgate.leases.lease_client import Lessor
from crewgate.ledger.operation_queue import Clerk

# What the ledger has an account of, or refuses draws by; a journal of before may not say (0).
_CLOSED = frozenset({0, Kind.BRANCH, Kind.KEY})

Say = Callable[[str], None]
Sink = Callable[[Iterable[Record]], None]


def disks(config: Config) -> dict[str, Disk]:
    """The folders that an agent must be able to write in, by what they are called."""
    folders = {"state folder": config.state, "audit folder": config.audit.folder}
    ledger = config.ledger.file
    if ledger is not None and ledger.parent != config.state:
        folders["ledger's folder"] = ledger.parent
    if config.cluster is not None:
        folders["cluster's folder"] = config.state / "gossip"
    return {name: Disk(folder) for name, folder in folders.items()}


class Machine:
    """The agent's state: table, ledger, registry, revocations, guests, policy."""

    def __init__(
        self,
        inforce: InForce,
        table: OwnedTable,
        clerk: Clerk,
        *,
        say: Say,
        sink: Sink,
        clock: Clock,
    ) -> None:
        self.inforce = inforce
        self.table = table
        self.say = say
        self.clock = clock
        self._sink = sink
        config = inforce.config
        inforce.number(table.life.hex(), table.policy_generation)
        # Bound to the table's life: a new table knows none of its branches.
        self.registry_journal = Journal(
            config.state / f"registry-{table.life.hex()[:16]}", registry_.Entry, say
        )
        self.registry = Registry(self.registry_journal, table.geometry.branches)
        self.revocations_journal = Journal(config.state / "revocations", entries.Entry, say)
        self.revocations = Revocations(table, self.revocations_journal, self.registry, say)
        self.notes_journal = Journal(config.state / "overruns", Note, say)
        self.notes = Notes(self.notes_journal, table.life)
        self.clerk = clerk
        holder = holder_name(config)
        self.lessor = Lessor(
            table,
            clerk.ledger,
            inforce.policy,
            holder,
            tell=clerk.tell,
            lent_max=config.ledger.lent_max,
        )
        self.attribution = Attribution(self.registry)
        self.watch_journal = Journal(config.state / "watch", Saved, say)
        self.watching = Watching(
            self.watch_journal,
            self.registry,
            table,
            say=say,
            sink=sink,
            wall_ns=clock.wall_ns,
            believed=self.believed,
        )
        self.watching.load(config.crews, inforce.policy.tools)
        wait = config.limits.credit_wait_seconds_max
        self.draws = Draws(
            table,
            self.lessor,
            clerk,
            self.registry,
            self.watching,
            wait,
            read=clock.read,
            say=say,
        )
        self.guests = Guests(table)
        self.telling = Telling(self.guests, clock.monotonic_ns)
        self.health, self.reports = Health(), Reports()
        self.audit: Writer | None = None  # the agent's own, once it is open
        self.disks = disks(config)
        self.steady, self.step_seconds = True, 0.0  # and how far the wall clock has jumped, if not
        self.in_touch = True  # with the other machines, as far as a person was told
        self.began_ns = clock.boot_ns()
        self.offset_ns = clock.wall_ns() - clock.boot_ns()  # as far as the wall clock is believed
        self.ending = False

    def __repr__(self) -> str:
        return f"<Machine {self.table!r} {self.guests!r} {self.registry!r}>"

    def restore(self) -> None:
        """Take up what the last agent left: registry, leases, revocations. OSError, TableError."""
        clocks = self.clock.read()
        self._drop_old_registries()
        self.registry.restore(self.registry_journal.read())
        self.registry_journal.rewrite(self.registry)
        self._take_up_leases(clocks)
        self._take_up_notes(clocks)
        self.watching.restore(clocks)
        missing = self.revocations.restore(self.revocations_journal.read(), clocks)
        for entry in self.revocations:  # the ledger may not have heard of the last ones
            if entry.before == limits.time_seconds_max and entry.kind in _CLOSED:
                self.clerk.tell(Close(bytes.fromhex(entry.key)))
        if missing:
            self.say(f"{missing} revocations found no room: raise [table] revocations")
        self.attribution.load(self.inforce.policy, self.clock.wall_ns())
        self.guests.wait_for_inherited(clocks.boot_ns + round(limits.inherited_seconds * 1e9))
        self.table.set_policy_generation(self.inforce.policy.generation)

    def _take_up_leases(self, clocks: Clocks) -> None:
        """TableError if the records contradict one another: damage, not what a kill leaves."""
        ledger = self.clerk.ledger
        if self.inforce.config.ledger.engine == "sqlite":
            # Nobody else's: who else has drawn from it was this machine under a name it has lost.
            for name, (boot, beat) in ledger.beats().items():
                if name != self.lessor.holder:
                    ledger.burn(name, boot, beat)
        try:
            self.lessor.rebuild(clocks.wall, clocks.boot_ns)
        except (LedgerError, OverflowError, ValueError) as error:
            table = self.inforce.config.state / "table"
            raise TableError(
                f"{table}: damaged, its records contradict one another or the ledger ({error}); "
                "take it away to begin with a new one: budgets are as the ledger has them, what "
                "was leased is burned, and revocations are kept beside it"
            ) from error

    def _take_up_notes(self, clocks: Clocks) -> None:
        """The ledger may not have heard of the last overruns, nor that they closed branches."""
        self.notes.restore()
        leases = self.clerk.ledger.leases(self.lessor.holder, self.table.life)
        for key, amount in self.notes.missing(leases).items():
            self.lessor.overran(key, amount, clocks.boot_ns)
        for key in self.notes.branches():
            self.clerk.tell(Close(key))

    def enter(self, ask: Attach) -> tuple[Guest, Attached]:
        """A guest attaches; TableFullError."""
        guest = self.guests.enter(ask)
        guest.heard_ns = self.clock.boot_ns()
        return guest, Attached(
            number=guest.number,
            nonce=guest.nonce,
            life=self.table.life,
            policy_generation=self.inforce.policy.generation,
        )

    def leave(self, guest: Guest) -> None:
        """A guest's connection has ended.

        When it is we who end, guests keep their numbers and come back to the next agent.
        """
        if self.ending:
            return
        self.telling.cuts.left(guest)
        self.burn(self.guests.leave(guest), "owner-died")

    def draw(self, guest: Guest, ask: Draw) -> None:
        """A guest wants credit; LinkError for what no honest guest says."""
        self.draws.ask(guest, ask, self.clock.read())

    def burn(self, burned: list[Burned], cause: Cause) -> None:
        """Write down what was ended."""
        if burned:
            self._sink(self.attribution.records(burned, cause, self.clock.wall_ns()))

    def revoke(
        self, name: str, crew: str, *, target: Target = "branch", coarsens: bool = True
    ) -> Told:
        """End a branch and all below it, or another `target`, here and now; see `Revocations`.

        The table binds every process when this returns; what follows is to hear when they cut.
        """
        clocks = self.believed()
        crews = self.inforce.policy.crews
        done = self.revocations.revoke(name, crew, crews, clocks, target=target, coarsens=coarsens)
        return Told(done, *self.telling.tell(done.told), len(self.guests))

    def revoke_names(self, names: Sequence[Name]) -> ToldNames:
        """Revoke certificates and orchestrators in one step; RefusedError as `Revocations`."""
        clocks = self.believed()
        crews = self.inforce.policy.crews
        entered, unlisted = self.revocations.revoke_names(names, crews, clocks)
        for name in names:
            if name.kind == "key":  # what it signs is dead for longer than the table remembers
                self.clerk.tell(Close(table_key(Kind.KEY, name.crew, name.name.encode())))
        return ToldNames(unlisted, *self.telling.tell(entered), len(self.guests))

    def close(self, done: Done) -> None:
        """Close a revoked branch in the ledger too, which outlives the table's entry.

        What else is revoked has no account there. A step of its own, because taking back the leases
        of all below it may take 10 µs each.
        """
        if done.branch_key:
            self.lessor.close(done.branch_key)

    def reload(self, loaded: Loaded) -> None:
        """Put a new configuration in force, for everybody."""
        self.inforce.replace(loaded)
        self.inforce.stamp(self.table.life.hex())
        policy = self.inforce.policy
        self.lessor.load(policy)
        self.watching.load(loaded.config.crews, policy.tools)
        self.attribution.load(policy, self.clock.wall_ns())
        if self.telling.others is not None and loaded.config.cluster is not None:
            self.telling.others.load(loaded.config.cluster)
        self.table.set_policy_generation(policy.generation)
        for guest in self.guests:
            guest.tell(Reload(generation=policy.generation))

    def record(self, records: Iterable[Record]) -> None:
        """Write something else down."""
        self._sink(records)

    def believed(self) -> Clocks:
        """Both clocks, the wall clock as it was before it jumped: other machines have that time."""
        boot = self.clock.boot_ns()
        return Clocks((boot + self.offset_ns) // 10**9, boot)

    def is_fresh(self) -> bool:
        """Processes may admit at this moment."""
        return not self.table.retired and self.table.fresh_until > self.clock.boot_ns()

    def is_synced(self) -> bool:
        """The table has what a majority of the members knows, at this moment."""
        return self.table.synced_until > self.clock.boot_ns()

    def synced_until_ns(self) -> int:
        """Until when (CLOCK_BOOTTIME) it has; for ever, where there are no other members."""
        others = self.telling.others
        return others.synced_until_ns() if others else limits.always_ns

    def _drop_old_registries(self) -> None:
        """Registries of tables that are gone name nobody any more."""
        keep = f"registry-{self.table.life.hex()[:16]}"
        for path in self.inforce.config.state.glob("registry-*"):
            if path.name != keep:
                path.unlink(missing_ok=True)
