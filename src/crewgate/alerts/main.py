"""Runs the alerts process: `python -m crewgate.alerts -c FILE`; `crewgate serve` starts it.

Exit status 0 after SIGTERM or SIGINT; 2, with one line of log, if it cannot start. `crewgate serve`
starts it again after a change of [alert], [audit], [crew], [cluster], `name`, or `url` of [ui].
"""

import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio

from crewgate import limits
from crewgate.alerts.channel import AlertChannel
from crewgate.alerts.local_machine import local_machine
from crewgate.alerts.machine_assignment import MachineAssignment
from crewgate.alerts.observer import Observer
from crewgate.alerts.outbox import AlertOutbox
from crewgate.alerts.pagerduty import PagerDutyChannel
from crewgate.alerts.sender import AlertSender
from crewgate.alerts.slack import SlackChannel
from crewgate.alerts.webhook import WebhookChannel
from crewgate.config import AlertConfig, Config, load
from crewgate.errors import ConfigurationError
from crewgate.ipc.health_report_client import HealthReportClient
from crewgate.lifecycle.processes import parent_of
from crewgate.metrics.process_metrics import ProcessMetrics, shared_descriptor
from crewgate.metrics.process_observer import observe_process
from crewgate.metrics.restart_counts import RestartCounts
from crewgate.runtime.file_process import run_process
from crewgate.runtime.single_process_lock import only_one
from crewgate.runtime.ticks import sleep_until_tick

_NAME: Final = "alerts"  # also of its folder in the state folder
_CHANNELS: Final[dict[str, Callable[[AlertConfig], AlertChannel]]] = {
    "webhook": WebhookChannel,
    "slack": SlackChannel,
    "pagerduty": PagerDutyChannel,
}
_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the alerts process, and return the exit status."""
    return run_process(_NAME, __doc__, _run_alerts, arguments, nice=limits.receiver_nice)


def _run_alerts(file: Path) -> None:
    config = load(file)
    if not config.alerts:
        raise ConfigurationError(f"{config.path}: there is no [alert.NAME]; add one")
    with only_one(config.state / _NAME, _NAME), AlertOutbox(config.state) as outbox:
        trio.run(_alert, config, outbox)


def channel(receiver: AlertConfig) -> AlertChannel:
    """Return the way to a receiver."""
    return _CHANNELS[receiver.format](receiver)


async def _alert(config: Config, outbox: AlertOutbox) -> None:
    """Look and send until SIGTERM or SIGINT; then send what is left, for a bounded time."""
    metrics = ProcessMetrics.of_process()
    assignment = MachineAssignment()
    senders = [
        AlertSender(each, channel(each), outbox, metrics, assignment) for each in config.alerts
    ]
    descriptor = shared_descriptor()
    restarts = None if descriptor is None else RestartCounts(descriptor, _serve())
    observer = Observer(config, local_machine(config), outbox, senders, assignment, restarts)
    for receiver in config.alerts:
        _log.info("alerts to %s: %s at %s", receiver.name, receiver.format, receiver.place)
    ending = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_report, config.state, observer, senders)
            nursery.start_soon(observe_process, metrics, _NAME)
            async with trio.open_nursery() as workers:
                workers.start_soon(_run, observer, senders, ending)
                await anext(aiter(signals))
                ending.set()
                workers.cancel_scope.deadline = trio.current_time() + limits.receiver_end_seconds
            nursery.cancel_scope.cancel()


async def _run(observer: Observer, senders: Sequence[AlertSender], ending: trio.Event) -> None:
    """Run the senders until the observer has seen the last records, and all is sent."""
    is_over = trio.Event()
    async with trio.open_nursery() as nursery:
        for each in senders:
            nursery.start_soon(each.run, is_over)
        await observer.run(ending)
        is_over.set()
        for each in senders:
            each.wake()


def _serve() -> str:
    """Return what identifies the process that has started this one; empty if that is unknown."""
    parent = parent_of(os.getpid())
    return "" if parent is None else parent.claim


async def _report(state: Path, observer: Observer, senders: Sequence[AlertSender]) -> None:
    """Report the health of the process to the agent once a second, until cancelled."""
    reporter = HealthReportClient(state, _NAME, seconds=0.0)
    try:
        while True:
            reporter.report([observer.health(), *(each.health() for each in senders)])
            await sleep_until_tick(limits.health_report_seconds)
    finally:
        reporter.close()
