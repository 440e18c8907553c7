"""A worker as a process: `python -m crewgate.gateway -c FILE --worker N`; `serve` starts it.

Exit status 0 after SIGTERM or SIGINT and a drain, 2 with one line when it cannot start.
"""

import argparse
import logging
import resource
import signal
import sys
from pathlib import Path

import trio

from crewgate import limits
from crewgate.audit.sink import Sink
from crewgate.audit.voice import Voice
from crewgate.audit.writer import Rotation, Writer
from crewgate.config import load
from crewgate.errors import CrewgateError
from crewgate.gateway.worker import Worker


def main(arguments: list[str] | None = None) -> int:
    """Run a worker; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crewgate.gateway", description=__doc__)
    parser.add_argument("-c", dest="file", type=Path, required=True, help="crewgate.toml")
    parser.add_argument("--worker", type=int, required=True, help="its index, from 0")
    asked = parser.parse_args(arguments)
    name = f"worker-{asked.worker}"
    logging.basicConfig(format=f"crewgate {name}: %(message)s", level=logging.WARNING)
    try:
        run(asked.file, asked.worker, name)
    except (CrewgateError, OSError) as error:
        sys.stderr.write(f"crewgate {name}: {error}\n")
        return 2
    return 0


def run(file: Path, index: int, name: str) -> None:
    """Open the audit and serve until told to end. ConfigurationError, OSError."""
    config = load(file)
    _raise_descriptor_limit()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the agent says when to load
    writer = Writer(config.audit.folder, name, Rotation.of(config.audit), machine=config.name)
    sink = Sink(writer, refuses_when_full=config.audit.on_full == "refuse")
    try:
        trio.run(Worker(config, index, sink, Voice(name, sink)).run)
    finally:
        sink.close()


def _raise_descriptor_limit() -> None:
    """A connection is a descriptor on either side, and the usual soft limit is 1024.

    The hard limit is the operator's word; below our need, accepting pauses when it is reached.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * limits.connections_max + limits.descriptors_spare
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
