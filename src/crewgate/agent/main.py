"""Runs the agent as a process: opens its parts, and serves until a signal; the table remains.

`python -m crewgate.agent -c FILE`. The exit status is 0 after SIGTERM or SIGINT, and 2, with one
line of explanation, if the agent cannot start. It is 75 (EX_TEMPFAIL) if a later start may succeed:
once the ledger's server is back, the ledger has its tables, or a disk has room.
"""

import argparse
import logging
import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

import trio

from crewgate import limits
from crewgate.agent import health, machine_crash_audit_loss, periodic
from crewgate.agent.active_config import ActiveConfig
from crewgate.agent.agent_metrics import LedgerMetrics, metrics_loop
from crewgate.agent.audit_checkpoints import AuditCheckpoints
from crewgate.agent.budget.ledger_mark_keeper import (
    LedgerMarkKeeper,
    open_known_ledger,
    require_table,
)
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.hot_restart_check import require_goes_on
from crewgate.agent.ipc_server.server import IPCServer
from crewgate.agent.reload import reload_now
from crewgate.agent.state import AgentState
from crewgate.agent.system_clock import SystemClock
from crewgate.agent.table_setup import await_lock, holder_name, open_table, state_folder
from crewgate.audit.log_to_audit import LogToAuditHandler
from crewgate.audit.writer import AuditWriter
from crewgate.config import Config, file_descriptor_needs
from crewgate.errors import (
    ConfigurationError,
    CrewgateError,
    LedgerReplacedError,
    LedgerUnavailableError,
)
from crewgate.ipc.sockets import AgentSocketKind
from crewgate.ledger.operation_queue import LedgerQueue
from crewgate.metrics.call_totals import CallTotalsReader
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.metrics.process_observer import observe_process
from crewgate.runtime.descriptor_limit import raise_to
from crewgate.runtime.durable_files import describe, is_full
from crewgate.runtime.folder_write_probe import watch_folders
from crewgate.runtime.memory_protection import leave_no_cores
from crewgate.runtime.process_log import ProcessLog
from crewgate.runtime.readiness import ReadinessNotifier
from crewgate.runtime.sealing_key_file import make_sealing_keys

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the agent, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crewgate.agent", description=__doc__)
    parser.add_argument("-c", dest="file", type=Path, required=True, help="crewgate.toml")
    parser.add_argument("--bootstrap", action="store_true", help="no other member has revocations")
    parser.add_argument("--ready", type=int, default=-1, help="descriptor that gets the readiness")
    parser.add_argument("--successor", action="store_true", help="take over from a running agent")
    options = parser.parse_args(arguments)
    with ProcessLog("agent") as log:
        try:
            leave_no_cores()
            readiness = ReadinessNotifier(options.ready)
            flags = {"bootstrap": options.bootstrap, "successor": options.successor}
            run(options.file, readiness, log, **flags)
        except (CrewgateError, OSError) as error:
            _log.error("%s", describe(error) if isinstance(error, OSError) else error)
            # The cause may end by itself, so a later start may succeed.
            is_away = isinstance(error, LedgerUnavailableError) and error.may_pass
            return os.EX_TEMPFAIL if is_away or is_full(error) else 2
    return 0


def run(
    file: Path,
    readiness: ReadinessNotifier,
    log: ProcessLog,
    *,
    bootstrap: bool = False,
    successor: bool = False,
) -> None:
    """Open the table, the ledger, the audit log and the sockets, and serve.

    Raises CrewgateError or OSError if the agent cannot start.
    """
    clock = SystemClock()
    active_config = ActiveConfig(file)
    config = active_config.config
    state_folder(config.state)
    if config.has_own_sealing_keys and make_sealing_keys(config.sealing_keys):
        # Otherwise the new file would count as a change of the configuration.
        active_config = ActiveConfig(file)
    raise_to(file_descriptor_needs.agent(config).wanted)
    if successor:
        _await_table(config, readiness)
    ledger, mark = open_known_ledger(config, holder_name(config))
    table, new = open_table(config, mark.drawn_as)
    with ExitStack() as stack:
        stack.callback(ledger.session.close)
        stack.callback(table.close)
        require_table(config, table, mark)
        keeper = LedgerMarkKeeper(config, ledger, table, mark)
        metrics = ProcessMetrics.of_process()
        checkpoints = AuditCheckpoints(lambda: active_config.config)
        stack.callback(checkpoints.end)  # after the agent's own last lines
        audit = AuditWriter.of(config, log.process, metrics)
        stack.callback(audit.close)
        stack.enter_context(log.copied_to(LogToAuditHandler(log.process, audit)))
        patience = max(limits.ledger_patience_seconds, config.limits.credit_wait_seconds_max)
        ledger_queue = LedgerQueue(ledger, lambda: clock.wall_ns() / 1e9, patience_seconds=patience)
        agent = AgentState(active_config, table, ledger_queue, sink=audit.write_many, clock=clock)
        agent.audit, agent.checkpoints = audit, checkpoints
        agent.call_totals = CallTotalsReader.of_process()
        ledger_queue.on_transaction.append(LedgerMetrics(metrics).transaction)
        ledger_queue.on_transaction.append(keeper.on_transaction)
        if machine_crash_audit_loss.stopped_uncleanly(config.state):
            _log.warning("%s", machine_crash_audit_loss.sync_promise(config.audit))
        else:
            machine_crash_audit_loss.mark_started(config.state)
        agent.restore()
        _join(agent, keeper, bootstrap=bootstrap)
        which = "a new table" if new else "the existing table"
        room = f"{table.geometry.branches} branches, {table.geometry.revocations} revocations"
        _log.info("serving with %s: %s, with room for %s", which, table.life.hex()[:8], room)
        trio.run(_serve, agent, keeper, readiness, metrics)
        keeper.write()
        machine_crash_audit_loss.mark_stopped(config.state)
        if keeper.refusal:
            raise LedgerReplacedError(f"ledger {config.ledger}: {keeper.refusal}")
        _log.info("ended; the table remains for the next agent")


def _await_table(config: Config, readiness: ReadinessNotifier) -> None:
    """Load slow modules, check the takeover, and wait until the previous agent has ended.

    If the workers cannot load a file, the agent that serves must stay: its health names the file.
    """
    if config.cluster is not None and config.ca is not None:
        # `_join` needs it, and loads it faster then.
        import crewgate.agent.cluster.cluster  # noqa: F401, PLC0415
    # Only a reload and a restart need it: 5 MB with what it imports.
    from crewgate.agent.worker_config_check import require_loadable  # noqa: PLC0415

    require_goes_on(config)
    require_loadable(config)
    readiness.send_loaded()
    await_lock(config.state / "table", limits.handover_seconds_max)


def _join(agent: AgentState, keeper: LedgerMarkKeeper, *, bootstrap: bool) -> None:
    """Make this machine a cluster member if it is configured as one.

    Raises ConfigurationError, CAError or OSError.
    """
    config = agent.active_config.config
    if config.cluster is None or config.ca is None:
        return
    # Member certificates need a library that a machine without a cluster does not have to load.
    from crewgate.agent.cluster.cluster import Cluster  # noqa: PLC0415

    cluster = Cluster(agent, config.cluster, config.ca, bootstrap=bootstrap)
    cluster.restore()
    cluster.keep_mark(keeper)
    if agent.checkpoints is not None:
        cluster.keep_checkpoints(agent.checkpoints)
    agent.fanout.others = cluster


async def _serve(
    agent: AgentState,
    mark: LedgerMarkKeeper,
    readiness: ReadinessNotifier,
    metrics: ProcessMetrics,
) -> None:
    config, cluster = agent.active_config.config, agent.fanout.others
    servers = [IPCServer(agent, kind) for kind in AgentSocketKind]
    watch = ClockMonitor(agent.clock.wall_ns(), agent.clock.boot_ns())
    periodic.extend_freshness(agent, watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(periodic.freshness_loop, agent, watch)
        nursery.start_soon(agent.ledger_queue.run)
        nursery.start_soon(mark.keep_for_ever)
        if agent.checkpoints is not None:
            nursery.start_soon(agent.checkpoints.keep_for_ever)
        if cluster is not None:
            nursery.start_soon(cluster.run)
            nursery.start_soon(agent.fanout.terminate_loop)
        if config.ledger.engine == "postgresql":
            # A machine whose ledger is a file need not have the extra package with the driver.
            from crewgate.agent.budget.shared_ledger_tasks import share  # noqa: PLC0415

            nursery.start_soon(share, agent)
        if machine_crash_audit_loss.stopped_uncleanly(config.state):
            nursery.start_soon(machine_crash_audit_loss.report_lost_records, agent)
        nursery.start_soon(periodic.retry_draws, agent)
        nursery.start_soon(periodic.prefetch_loop, agent)
        nursery.start_soon(periodic.tidy_for_ever, agent)
        nursery.start_soon(agent.tool_pins.writer.run)
        nursery.start_soon(health.health_loop, agent)
        nursery.start_soon(metrics_loop, agent, metrics)
        nursery.start_soon(observe_process, metrics, "agent")
        nursery.start_soon(watch_folders, [*agent.disks.values()])
        for server in servers:
            nursery.start_soon(server.serve)
        readiness.send_ready()
        signal_number = 0
        with trio.CancelScope() as serving:
            mark.on_refusal = serving.cancel
            if not mark.refusal:
                signal_number = await _wait_until_stopped(agent)
        agent.ending = True
        await agent.tool_pins.writer.flush()
        await take_leave(agent, signal_number)
        nursery.cancel_scope.cancel()


async def take_leave(agent: AgentState, signal_number: int) -> None:
    """Return unused credit to the ledger, and wait until it has done all operations.

    Other machines may need the credit. If the ledger does not answer in time, the rest is burned.
    After SIGUSR2 another agent continues with the leases of this table, so the credit stays.
    """
    with trio.move_on_after(limits.ledger_farewell_seconds):
        # A draw in progress may bring credit after the first round.
        for _ in range(2):
            if signal_number != signal.SIGUSR2:
                agent.lease_client.give_back_all(agent.clock.boot_ns())
            await agent.ledger_queue.quiet()


async def _wait_until_stopped(agent: AgentState) -> int:
    """Return the signal that ends this agent; SIGUSR2 means that a successor takes over.

    SIGHUP reloads the configuration.
    """
    expected = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2
    with trio.open_signal_receiver(*expected) as signals:
        async for number in signals:
            if number != signal.SIGHUP:
                return number
            # `reload_now` logs an invalid configuration.
            with suppress(ConfigurationError):
                await reload_now(agent)
    raise AssertionError("signals do not end")
