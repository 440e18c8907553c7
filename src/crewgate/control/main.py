"""Runs the control process: `python -m crewgate.control -c FILE`; `crewgate serve` starts it.

Exit status 0 after SIGTERM or SIGINT; 2, with one line of log, if it cannot start.
"""

import argparse
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import trio

from crewgate import limits
from crewgate._datapath.trio_host import TurnClock
from crewgate.audit.log_to_audit import LogToAuditHandler
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.config import load
from crewgate.control.process import ControlProcess
from crewgate.control.server import NAME
from crewgate.errors import ConfigurationError, CrewgateError
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.listening import adopt
from crewgate.runtime.memory_protection import leave_no_cores
from crewgate.runtime.process_log import ProcessLog

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the control process, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crewgate.control", description=__doc__)
    parser.add_argument("-c", dest="file", type=Path, required=True, help="crewgate.toml")
    parser.add_argument(
        "--socket", type=int, action="append", default=[], help="descriptor of a listening socket"
    )
    options = parser.parse_args(arguments)
    with ProcessLog(NAME) as log:
        try:
            leave_no_cores()
            run(options.file, log, options.socket)
        except (CrewgateError, OSError) as error:
            _log.error("%s", error)
            return 2
    return 0


def run(file: Path, log: ProcessLog, sockets: Sequence[int] = ()) -> None:
    """Open the audit and serve until SIGTERM or SIGINT. Raises CrewgateError or OSError."""
    given = adopt(sockets)
    # Made before the file is read, so that it sees every later change.
    watch = FileWatch((file.absolute(),))
    config = load(file)
    if config.ca is None:
        raise ConfigurationError(f"{config.path}: there is no [ca]; add the section")
    os.nice(limits.control_nice)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the watch sees changes without a signal
    metrics = ProcessMetrics.of_process()
    writer = AuditWriter.of(config, NAME, metrics)
    refuses = config.audit.on_full == "refuse"
    sink = AuditRecorder(writer, refuses_when_full=refuses, metrics=metrics)
    with closing(sink), log.copied_to(LogToAuditHandler(log.process, sink)):
        trio.run(ControlProcess(config, watch, sink, given).run, clock=TurnClock())
