"""The agent as a process: opens everything in order, serves until told to end, leaves the table.

`python -m crewgate.agent -c FILE`. Exit status 0 after SIGTERM or SIGINT, 2 with one line when it
cannot start; 75 (EX_TEMPFAIL) if it can once the ledger's server is back, its tables are made, or a
disk has room.
"""

import argparse
import logging
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent import audit_loss_after_crash, health, periodic
from crewgate.agent.active_config import ActiveConfig
from crewgate.agent.budget.ledger_mark_keeper import (
    LedgerMarkKeeper,
    open_known_ledger,
    require_table,
)
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.ipc_server.server import IPCServer
from crewgate.agent.reload import reload_now
from crewgate.agent.state import AgentState
from crewgate.agent.system_clock import SystemClock
from crewgate.agent.table_setup import await_lock, holder_name, open_table, state_folder
from crewgate.agent.takeover_check import require_goes_on
from crewgate.audit.log_handler import AuditLogHandler
from crewgate.audit.writer import AuditWriter, RotationPolicy
from crewgate.config import Config, descriptors
from crewgate.errors import (
    ConfigurationError,
    CrewgateError,
    LedgerReplacedError,
    LedgerUnavailableError,
)
from crewgate.ipc.sockets import AgentSocketKind
from crewgate.ledger.operation_queue import LedgerQueue
from crewgate.runtime.descriptor_limit import raise_to
from crewgate.runtime.durable_files import describe, is_full
from crewgate.runtime.memory_protection import leave_no_cores
from crewgate.runtime.process_log import ProcessLog
from crewgate.runtime.readiness import ReadinessNotifier

if TYPE_CHECKING:
    from crewgate.agent.cluster.cluster import Cluster

_log = logging.getLogger(__name__)


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
    with ProcessLog("agent") as log:
        try:
            leave_no_cores()
            word = ReadinessNotifier(asked.ready)
            run(asked.file, word, log, bootstrap=asked.bootstrap, succeeds=asked.successor)
        except (CrewgateError, OSError) as error:
            _log.error("%s", describe(error) if isinstance(error, OSError) else error)
            return os.EX_TEMPFAIL if _may_pass(error) else 2
    return 0


def _may_pass(error: Exception) -> bool:
    """Whether what is in the way may go by itself, so that it is worth to try again."""
    is_passing = isinstance(error, LedgerUnavailableError) and error.may_pass
    return is_passing or is_full(error)


def run(
    file: Path,
    word: ReadinessNotifier,
    log: ProcessLog,
    *,
    bootstrap: bool = False,
    succeeds: bool = False,
) -> None:
    """Open table, audit and doors, and serve; ConfigurationError, TableError, LinkError."""
    clock = SystemClock()
    inforce = ActiveConfig(file)
    raise_to(descriptors.agent(inforce.config).wanted)
    config = inforce.config
    if succeeds:
        _await_table(config, word)
    state_folder(config.state)
    went_down = audit_loss_after_crash.stopped_uncleanly(config.state)
    ledger, mark = open_known_ledger(config, holder_name(config))
    table, new = open_table(config, mark.drawn_as)
    with ExitStack() as stack:
        stack.callback(ledger.close_session)
        stack.callback(table.close)
        require_table(config, table, mark)
        keeper = LedgerMarkKeeper(config, ledger, table, mark)
        rotation = RotationPolicy.of(config.audit)
        audit = AuditWriter(config.audit.folder, log.process, rotation, machine=config.name)
        stack.callback(audit.close)
        stack.enter_context(log.copied_to(AuditLogHandler(log.process, audit)))
        patience = max(limits.ledger_patience_seconds, config.limits.credit_wait_seconds_max)
        ledger_queue = LedgerQueue(ledger, lambda: clock.wall_ns() / 1e9, patience_seconds=patience)
        agent = AgentState(inforce, table, ledger_queue, sink=audit.write_many, clock=clock)
        agent.audit = audit
        if went_down:
            _log.warning("%s", audit_loss_after_crash.sync_promise(config.audit))
        else:
            audit_loss_after_crash.mark_started(config.state)
        agent.restore()
        cluster = _join(agent, bootstrap=bootstrap)
        if cluster is not None:
            cluster.keep_mark(keeper)
        which = "a new table" if new else "the table that stood there"
        _log.info("serving %s: %s", which, _describe(table))
        trio.run(_serve, agent, cluster, keeper, audit, word, went_down)
        keeper.write()
        audit_loss_after_crash.mark_stopped(config.state)
        if keeper.refusal:
            raise LedgerReplacedError(f"ledger {config.ledger}: {keeper.refusal}")
        _log.info("ended; the table stays for the next one")


def _await_table(config: Config, word: ReadinessNotifier) -> None:
    """Load what takes long, look at what stands, and wait until the agent before has ended."""
    if config.cluster is not None and config.ca is not None:
        import crewgate.agent.cluster.cluster  # noqa: F401, PLC0415 - as `_join` does it, but now
    require_goes_on(config)
    word.send_loaded()
    await_lock(config.state / "table", limits.handover_seconds_max)


def _join(agent: AgentState, *, bootstrap: bool) -> "Cluster | None":
    """This machine as a member, where it is to be one; ConfigurationError, AuthorityError."""
    config = agent.active_config.config
    if config.cluster is None or config.ca is None:
        return None
    # Its certificates need a library that a machine without peers need not load.
    from crewgate.agent.cluster.cluster import Cluster  # noqa: PLC0415

    cluster = Cluster(agent, config.cluster, config.ca, bootstrap=bootstrap)
    cluster.restore()
    agent.fanout.others = cluster
    return cluster


def _describe(table: OwnedTable) -> str:
    room = table.geometry
    return f"{table.life.hex()[:8]}, for {room.branches} branches, {room.revocations} revocations"


async def _serve(
    agent: AgentState,
    cluster: "Cluster | None",
    mark: LedgerMarkKeeper,
    audit: AuditWriter,
    word: ReadinessNotifier,
    went_down: bool,  # noqa: FBT001 -- trio.run hands on no keywords
) -> None:
    keepers = [IPCServer(agent, door) for door in AgentSocketKind]
    watch = ClockMonitor(agent.clock.wall_ns(), agent.clock.boot_ns())
    periodic.extend_freshness(agent, watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(periodic.freshness_loop, agent, watch)
        nursery.start_soon(agent.ledger_queue.run)
        nursery.start_soon(mark.keep_for_ever)
        if cluster is not None:
            nursery.start_soon(cluster.service.run)
            nursery.start_soon(agent.fanout.terminate_loop)
        if agent.active_config.config.ledger.engine == "postgresql":
            # Its driver is an extra, which a machine with a ledger in a file need not have.
            from crewgate.agent.budget.shared_ledger_tasks import share  # noqa: PLC0415

            nursery.start_soon(share, agent)
        if went_down:
            nursery.start_soon(audit_loss_after_crash.report_lost_records, agent)
        nursery.start_soon(periodic.retry_draws, agent)
        nursery.start_soon(periodic.prefetch_loop, agent)
        nursery.start_soon(periodic.tidy_for_ever, agent, audit.tick)
        nursery.start_soon(health.health_loop, agent)
        for disk in agent.disks.values():
            nursery.start_soon(disk.watch)
        for keeper in keepers:
            nursery.start_soon(keeper.serve)
        word.send_ready()
        told = 0
        with trio.CancelScope() as serving:
            mark.on_refusal = serving.cancel
            if not mark.refusal:
                told = await _wait_until_stopped(agent)
        agent.ending = True
        await take_leave(agent, told)
        nursery.cancel_scope.cancel()


async def take_leave(agent: AgentState, told: int) -> None:
    """Give the ledger what no call has used, and wait until it has heard all that was sent.

    Others may need the credit. If the ledger does not answer in time, what it was not told is
    burned.
    """
    with trio.move_on_after(limits.ledger_farewell_seconds):
        for _ in range(2):  # a draw that was under way comes with credit after the first
            if told != signal.SIGUSR2:  # another agent goes on with the leases of this table
                agent.lease_client.give_back_all(agent.clock.boot_ns())
            await agent.ledger_queue.quiet()


async def _wait_until_stopped(agent: AgentState) -> int:
    """The signal: SIGUSR2 where another agent takes the table up at once."""
    heard = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2
    with trio.open_signal_receiver(*heard) as signals:
        async for number in signals:
            if number != signal.SIGHUP:
                return number
            try:
                await reload_now(agent)
            except ConfigurationError:  # it has been said, and the old one stays
                continue
    raise AssertionError("signals do not end")
