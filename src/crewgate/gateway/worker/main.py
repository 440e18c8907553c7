"""Runs a worker process: `python -m crewgate.gateway -c FILE --worker N`; `serve` starts it.

The exit status is 0 after SIGTERM or SIGINT and a drain, and 2, with one line on stderr, if the
worker cannot start.
"""

import argparse
import logging
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import trio

from crewgate._datapath.trio_host import TurnClock
from crewgate.audit.log_to_audit import LogToAuditHandler
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.config import load
from crewgate.errors import CrewgateError
from crewgate.gateway.worker.worker import Worker
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.runtime.cycle_collection import collect_rarely, keep_all_objects
from crewgate.runtime.listening import adopt
from crewgate.runtime.memory_protection import leave_no_cores
from crewgate.runtime.process_log import ProcessLog
from crewgate.runtime.readiness import ReadinessNotifier

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run a worker, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crewgate.gateway", description=__doc__)
    parser.add_argument("-c", dest="file", type=Path, required=True, help="crewgate.toml")
    parser.add_argument("--worker", type=int, required=True, help="index of this worker, from 0")
    parser.add_argument(
        "--socket", type=int, action="append", default=[], help="descriptor of a listening socket"
    )
    parser.add_argument(
        "--ready", type=int, default=-1, help="descriptor to write to once the worker accepts calls"
    )
    options = parser.parse_args(arguments)
    with ProcessLog(f"worker-{options.worker}") as log:
        try:
            leave_no_cores()
            collect_rarely()
            run(options.file, options.worker, log, options.socket, options.ready)
        except (CrewgateError, OSError) as error:
            _log.error("%s", error)
            return 2
    return 0


def run(
    file: Path, index: int, log: ProcessLog, sockets: Sequence[int] = (), ready: int = -1
) -> None:
    """Open the audit log and serve until a signal ends the worker.

    Raises ConfigurationError or OSError if the worker cannot start.
    """
    inherited = adopt(sockets)
    config = load(file)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the agent tells the worker when to reload
    metrics = ProcessMetrics.of_process()
    writer = AuditWriter.of(config, log.process, metrics)
    refuses = config.audit.on_full == "refuse"
    sink = AuditRecorder(writer, refuses_when_full=refuses, metrics=metrics)
    with closing(sink):
        pipe = ReadinessNotifier(ready)
        with log.copied_to(LogToAuditHandler(log.process, sink)):
            worker = Worker(config, index, sink, given=inherited, on_ready=pipe.send_ready)
            keep_all_objects()
            trio.run(worker.run, clock=TurnClock())
