"""Runs a process that `crewgate serve` starts beside those that carry calls: `-c FILE`.

Each of them has a low priority, leaves no core file with a secret, and ignores SIGHUP, because the
supervisor sees each change of the file.
"""

import argparse
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from crewgate.errors import CrewgateError
from crewgate.runtime.memory_protection import leave_no_cores
from crewgate.runtime.process_log import ProcessLog

_log = logging.getLogger(__name__)


def run_process(
    name: str,
    text: str | None,
    run: Callable[[Path], object],
    arguments: Sequence[str] | None,
    *,
    nice: int,
) -> int:
    """Call `run` with the path of the configuration, and return the exit status.

    It is 0, or 2 after a CrewgateError or OSError, which is one line of log. `text` describes the
    process.
    """
    parser = argparse.ArgumentParser(prog=f"python -m crewgate.{name}", description=text)
    parser.add_argument("-c", dest="file", type=Path, required=True, help="crewgate.toml")
    options = parser.parse_args(arguments)
    with ProcessLog(name):
        try:
            leave_no_cores()
            os.nice(nice)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            run(options.file)
        except (CrewgateError, OSError) as error:
            _log.error("%s", error)
            return 2
    return 0
