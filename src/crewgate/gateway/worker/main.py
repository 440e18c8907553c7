"""A worker as a process: `python -m crewgate.gateway -c FILE --worker N`; `serve` starts it.

Exit status 0 after SIGTERM or SIGINT and a drain, 2 with one line when it cannot start.
"""

import argparse
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

import trio

from crewgate.audit.log_handler import AuditLogHandler
from crewgate.audit.sink import AuditSink
from crewgate.audit.writer import AuditWriter, FileRotation
from crewgate.config import load
from crewgate.errors import CrewgateError
from crewgate.gateway.worker.worker import Worker
from crewgate.runtime.listening import adopt
from crewgate.runtime.memory_protection import leave_no_cores
from crewgate.runtime.process_log import ProcessLog
from crewgate.runtime.readiness import ReadinessPipe

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run a worker; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crewgate.gateway", description=__doc__)
    parser.add_argument("-c", dest="file", type=Path, required=True, help="crewgate.toml")
    parser.add_argument("--worker", type=int, required=True, help="its index, from 0")
    parser.add_argument(
        "--socket", type=int, action="append", default=[], help="a listening socket's descriptor"
    )
    parser.add_argument(
        "--ready", type=int, default=-1, help="descriptor that is written to once it accepts"
    )
    asked = parser.parse_args(arguments)
    with ProcessLog(f"worker-{asked.worker}") as log:
        try:
            leave_no_cores()
            run(asked.file, asked.worker, log, asked.socket, asked.ready)
        except (CrewgateError, OSError) as error:
            _log.error("%s", error)
            return 2
    return 0


def run(
    file: Path, index: int, log: ProcessLog, sockets: Sequence[int] = (), ready: int = -1
) -> None:
    """Open the audit and serve until told to end. ConfigurationError, OSError."""
    given = adopt(sockets)
    config = load(file)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the agent says when to load
    writer = AuditWriter(
        config.audit.folder, log.process, FileRotation.of(config.audit), machine=config.name
    )
    sink = AuditSink(writer, refuses_when_full=config.audit.on_full == "refuse")
    try:
        word = ReadinessPipe(ready)
        with log.copied_to(AuditLogHandler(log.process, sink)):
            trio.run(Worker(config, index, sink, given=given, on_ready=word.send_ready).run)
    finally:
        sink.close()
