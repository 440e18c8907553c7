"""The agent as a process: opens everything in order, serves until told to end, leaves the table.

`python -m crewgate.agent -c FILE`. Exit status 0 after SIGTERM or SIGINT, 2 with one line when it
cannot start; 75 (EX_TEMPFAIL) if it can once the ledger's server is back, its tables are made, or a
disk has room.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate.agent import health, lost_audit_records, periodic
from crewgate.agent.active_config import InForce
from crewgate.agent.budget.ledger_mark import MarkKeeper, open_known_ledger, require_table
from crewgate.agent.clock_monitor import ClockWatch
from crewgate.agent.handover import require_goes_on
from crewgate.agent.ipc_server.server import Doorkeeper
from crewgate.agent.reload import reload_now
from crewgate.agent.state import Machine
from crewgate.agent.system_clock import Clock
from crewgate.agent.table_setup import await_lock, holder_name, open_table, state_folder
from crewgate.audit.writer import Rotation, Writer
from crewgate.config import Config, descriptors
from crewgate.core.audit.records import Event, Record, when
from crewgate.errors import (
    ConfigurationError,
    CrewgateError,
    LedgerReplacedError,
    LedgerUnavailableError,
)
from crewgate.ipc.sockets import Door
from crewgate.ledger.operation_queue import Clerk
from crewgate.runtime.descriptors import raise_to
from crewgate.runtime.durable_files import describe, is_full
from crewgate.runtime.readiness import Word
from crewgate.runtime.secrecy import leave_no_cores

if TYPE_CHECKING:
    from crewgate.agent.cluster.cluster import Cluster


class Voice:
    """Says things of the agent itself: on standard error, and in the audit once that is open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.audit: Writer | None = None

    def __call__(self, text: str) -> None:
        """One sentence."""
        # A closed standard error is no reason to end.
        try:
            sys.stderr.write(f"crewgate agent: {text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass
        self.write([Event(time=when(self._clock.wall_ns()), event="agent", detail=text)])

    def write(self, records: Iterable[Record]) -> None:
        """Records for the audit."""
        if self.audit is not None:
            self.audit.write_many(records)


def main(arguments: list[str] | None = None) -> int:
    """Run the agent; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crewgate.agent", description=__doc__)
    parser.add_argument("-c", dest="file", type=Path, required=True, help="crewgate.toml")
    parser.add_argument(
        "--bootstrap",
        action="store_true",
        help="there is nothing to learn from peers: this is the first machine of all",
    )
    parser.add_argument(
        "--ready",
        type=int,
        default=-1,
        help="descriptor that is written to once the doors are open",
    )
    parser.add_argument(
        "--successor",
        action="store_true",
        help="an agent is there, which ends once this one has said that it waits for its table",
    )
    asked = parser.parse_args(arguments)
    try:
        leave_no_cores()
        word = Word(asked.ready)
        run(asked.file, word, bootstrap=asked.bootstrap, succeeds=asked.successor)
    except (CrewgateError, OSError) as error:
        why = describe(error) if isinstance(error, OSError) else str(error)
        sys.stderr.write(f"crewgate agent: {why}\n")
        return os.EX_TEMPFAIL if _may_pass(error) else 2
    return 0


def _may_pass(error: Exception) -> bool:
    """Whether what is in the way may go by itself, so that it is worth to try again."""
    is_passing = isinstance(error, LedgerUnavailableError) and error.may_pass
    return is_passing or is_full(error)


def run(file: Path, word: Word, *, bootstrap: bool = False, succeeds: bool = False) -> None:
    """Open table, audit and doors, and serve; ConfigurationError, TableError, LinkError."""
    clock = Clock()
    voice = Voice(clock)
    inforce = InForce(file)
    raise_to(descriptors.agent(inforce.config).wanted)
    config = inforce.config
    if succeeds:
        _await_table(config, word)
    state_folder(config.state)
    went_down = lost_audit_records.went_down(config.state)
    ledger, mark = open_known_ledger(config, holder_name(config))
    table, new = open_table(config, mark.drawn_as, voice)
    try:
        require_table(config, table, mark)
        keeper = MarkKeeper(config, ledger, table, mark, voice)
        audit = config.audit
        voice.audit = Writer(audit.folder, "agent", Rotation.of(audit), machine=config.name)
        patience = max(
            limits.ledger_patience_seconds, inforce.config.limits.credit_wait_seconds_max
        )
        clerk = Clerk(ledger, lambda: clock.wall_ns() / 1e9, voice, patience_seconds=patience)
        machine = Machine(inforce, table, clerk, say=voice, sink=voice.write, clock=clock)
        machine.audit = voice.audit
        if went_down:
            voice(lost_audit_records.promise(audit))
        else:
            lost_audit_records.began(config.state)
        machine.restore()
        cluster = _join(machine, bootstrap=bootstrap)
        if cluster is not None:
            cluster.keep_mark(keeper)
        voice(f"serving {'a new table' if new else 'the table that stood there'}: {_told(table)}")
        trio.run(_serve, machine, cluster, keeper, voice.audit, word, went_down)
        keeper.write()
        lost_audit_records.ended(config.state)
        if keeper.refusal:
            raise LedgerReplacedError(f"ledger {config.ledger}: {keeper.refusal}")
        voice("ended; the table stays for the next one")
    finally:
        if voice.audit is not None:
            voice.audit.close()
        table.close()
        ledger.close_session()


def _await_table(config: Config, word: Word) -> None:
    """Load what takes long, look at what stands, and wait until the agent before has ended."""
    if config.cluster is not None and config.ca is not None:
        import crewgate.agent.cluster.cluster  # noqa: F401, PLC0415 - as `_join` does it, but now
    require_goes_on(config)
    word.wait()
    await_lock(config.state / "table", limits.handover_seconds_max)


def _join(machine: Machine, *, bootstrap: bool) -> "Cluster | None":
    """This machine as a member, where it is to be one; ConfigurationError, AuthorityError."""
    config = machine.inforce.config
    if config.cluster is None or config.ca is None:
        return None
    # Its certificates need a library that a machine without peers need not load.
    from crewgate.agent.cluster.cluster import Cluster  # noqa: PLC0415

    cluster = Cluster(machine, config.cluster, config.ca, bootstrap=bootstrap)
    cluster.restore()
    machine.telling.others = cluster
    return cluster


def _told(table: OwnedTable) -> str:
    room = table.geometry
    return f"{table.life.hex()[:8]}, for {room.branches} branches, {room.revocations} revocations"


async def _serve(
    machine: Machine,
    cluster: "Cluster | None",
    mark: MarkKeeper,
    audit: Writer,
    word: Word,
    went_down: bool,  # noqa: FBT001 -- trio.run hands on no keywords
) -> None:
    keepers = [Doorkeeper(machine, door) for door in Door]
    watch = ClockWatch(machine.clock.wall_ns(), machine.clock.boot_ns())
    periodic.vouch(machine, watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(periodic.vouch_for_ever, machine, watch)
        nursery.start_soon(machine.clerk.run)
        nursery.start_soon(mark.keep_for_ever)
        if cluster is not None:
            nursery.start_soon(cluster.service.run)
            nursery.start_soon(machine.telling.cut_for_ever)
        if machine.inforce.config.ledger.engine == "postgresql":
            # Its driver is an extra, which a machine with a ledger in a file need not have.
            from crewgate.agent.budget.ledger_heartbeat import share  # noqa: PLC0415

            nursery.start_soon(share, machine)
        if went_down:
            nursery.start_soon(lost_audit_records.tell, machine)
        nursery.start_soon(periodic.retry_draws, machine)
        nursery.start_soon(periodic.draw_ahead, machine)
        nursery.start_soon(periodic.tidy_for_ever, machine, audit.tick)
        nursery.start_soon(health.look_for_ever, machine)
        for disk in machine.disks.values():
            nursery.start_soon(disk.watch)
        for keeper in keepers:
            nursery.start_soon(keeper.serve)
        word.say()
        told = 0
        with trio.CancelScope() as serving:
            mark.on_refusal = serving.cancel
            if not mark.refusal:
                told = await _until_told_to_end(machine)
        machine.ending = True
        await take_leave(machine, told)
        nursery.cancel_scope.cancel()


async def take_leave(machine: Machine, told: int) -> None:
    """Give the ledger what no call has used, and wait until it has heard all that was sent.

    Others may need the credit. If the ledger does not answer in time, what it was not told is
    burned.
    """
    with trio.move_on_after(limits.ledger_farewell_seconds):
        for _ in range(2):  # a draw that was under way comes with credit after the first
            if told != signal.SIGUSR2:  # another agent goes on with the leases of this table
                machine.lessor.give_back_all(machine.clock.boot_ns())
            await machine.clerk.quiet()


async def _until_told_to_end(machine: Machine) -> int:
    """The signal: SIGUSR2 where another agent takes the table up at once."""
    heard = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2
    with trio.open_signal_receiver(*heard) as signals:
        async for number in signals:
            if number != signal.SIGHUP:
                return number
            try:
                await reload_now(machine)
            except ConfigurationError:  # it has been said, and the old one stays
                continue
    raise AssertionError("signals do not end")
