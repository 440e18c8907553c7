"""Runs the export process: `python -m crewgate.export -c FILE`; `crewgate serve` starts it.

Exit status 0 after SIGTERM or SIGINT; 2, with one line of log, if it cannot start. `crewgate serve`
starts it again after a change of [export], [audit] or `name`.
"""

import logging
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from crewgate import limits
from crewgate.audit.audit_tail import AuditTail
from crewgate.config import Config, load
from crewgate.errors import ConfigurationError
from crewgate.export import ocsf_channels, otlp_channels
from crewgate.export.archive.archiver import Archiver
from crewgate.export.channel import Channel
from crewgate.export.delivery import Delivery
from crewgate.export.position_file import ExportPosition, PositionFile
from crewgate.export.syslog_channel import SyslogChannel
from crewgate.ipc.health_report_client import HealthReportClient
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.metrics.process_observer import observe_process
from crewgate.runtime.file_process import run_process
from crewgate.runtime.single_process_lock import only_one
from crewgate.runtime.ticks import sleep_until_tick

_NAME: Final = "export"  # also of its folder in the state folder
_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the export process, and return the exit status."""
    return run_process(_NAME, __doc__, _run, arguments, nice=limits.receiver_nice)


def _run(file: Path) -> None:
    config = load(file)
    if not config.exports:
        raise ConfigurationError(f"{config.path}: there is no [export.NAME]; add one")
    with only_one(config.state / _NAME, _NAME):
        trio.run(_export, config)


def deliveries(config: Config, metrics: ProcessMetrics) -> list[Delivery | Archiver]:
    """Return one delivery for each channel of each receiver, and for each archive.

    Raises ConfigurationError.
    """
    machine = config.name or socket.gethostname()
    found: list[Delivery | Archiver] = []
    for receiver in config.exports:
        if receiver.format == "parquet":
            state = config.state / _NAME
            found.append(Archiver(receiver, machine, config.audit.folder, state, metrics))
            continue
        channels: Sequence[Channel]
        if receiver.format == "otlp":
            channels = list(otlp_channels.channels(receiver, machine))
        elif receiver.format == "syslog":
            channels = [SyslogChannel(receiver, machine)]
        else:
            channels = [ocsf_channels.channel(receiver)]
        for channel in channels:
            # `NAME (traces)` has its position in NAME.traces.position.
            stem = channel.name.replace(" (", ".").removesuffix(")")
            file = PositionFile(config.state / _NAME / f"{stem}.position", ExportPosition)
            tail = AuditTail(config.audit.folder, file.load())
            found.append(Delivery(channel, receiver.place, tail, file, metrics))
    return found


async def _export(config: Config) -> None:
    """Send until SIGTERM or SIGINT; then send what is left, for a bounded time."""
    metrics = ProcessMetrics.of_process()
    running = deliveries(config, metrics)
    for receiver in config.exports:
        _log.info("export to %s: %s at %s", receiver.name, receiver.format, receiver.place)
    ending = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_report, config.state, running)
            nursery.start_soon(observe_process, metrics, _NAME)
            async with trio.open_nursery() as senders:
                for each in running:
                    senders.start_soon(each.run, ending)
                await anext(aiter(signals))
                ending.set()
                senders.cancel_scope.deadline = trio.current_time() + limits.receiver_end_seconds
            nursery.cancel_scope.cancel()


async def _report(state: Path, running: Sequence[Delivery | Archiver]) -> None:
    """Report the health of all deliveries to the agent once a second, until cancelled."""
    reporter = HealthReportClient(state, _NAME, seconds=0.0)
    try:
        while True:
            facts = [each.health() for each in running]
            reporter.report(facts)
            await sleep_until_tick(limits.health_report_seconds)
    finally:
        reporter.close()
