"""Runs the process of the live page: `python -m crewgate.ui -c FILE`; `crewgate serve` starts it.

Exit status 0 after SIGTERM or SIGINT; 2, with one line of log, if it cannot start. It loads a
changed configuration by itself. `crewgate ui` runs a page of its own in the foreground.
"""

import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from crewgate import limits
from crewgate._datapath.trio_host import TurnClock
from crewgate.alerts.local_machine import local_machine
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.config import Config, load
from crewgate.core.audit.records import ServiceEvent, when
from crewgate.errors import ConfigurationError
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.metrics.process_observer import observe_process
from crewgate.runtime.file_process import run_process
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.nursery import open_nursery
from crewgate.runtime.single_process_lock import only_one
from crewgate.ui.health import PageHealth
from crewgate.ui.login.login_service import LoginService
from crewgate.ui.login.one_time_codes import OneTimeCodes
from crewgate.ui.login.sessions import Sessions
from crewgate.ui.page_state import PageState
from crewgate.ui.server import NAME, PageServer

_log = logging.getLogger(__name__)
SESSIONS: Final = "sessions.json"
# Prints links with these codes to the page of a state, until cancelled.
PrintLinks = Callable[[PageState, OneTimeCodes], Awaitable[None]]


def main(arguments: list[str] | None = None) -> int:
    """Run the process, and return the exit status."""
    return run_process(NAME, __doc__, _run, arguments, nice=limits.ui_nice)


def _run(file: Path) -> None:
    # Made before the file is read, so that it sees every later change.
    watch = FileWatch((file.absolute(),))
    config = load(file)
    if config.ui is None:
        raise ConfigurationError(f"{config.path}: there is no [ui]; add the section")
    folder = config.state / NAME
    with only_one(folder, NAME), _recorder(config) as sink:
        state = PageState(config, partial(_note, sink))
        login = LoginService(state, Sessions(folder / SESSIONS))
        server = PageServer(state, login, sink, watch, local_machine(config).name)
        trio.run(_serve, server, sink, PageHealth(state.folder, login, sink).run, clock=TurnClock())


def run_local(
    config: Config,
    watch: FileWatch,
    sock: socket.socket,
    fitted: Callable[[Config], Config],
    print_links: PrintLinks,
) -> None:
    """Run a page at a listening socket. Its sessions begin with links, and end with the process.

    `config` has a [ui] for this socket. `fitted` gives such a [ui] to a configuration of the file.
    Raises CrewgateError, OSError.
    """
    with _recorder(config) as sink:
        state, codes = PageState(config, partial(_note, sink)), OneTimeCodes()
        login = LoginService(state, Sessions(None), codes)
        name = local_machine(config).name
        server = PageServer(state, login, sink, watch, name, fitted=fitted, given=sock)
        trio.run(_serve, server, sink, partial(print_links, state, codes), clock=TurnClock())


async def _serve(
    server: PageServer, sink: AuditRecorder, beside: Callable[[], Awaitable[None]]
) -> None:
    """Serve until SIGTERM or SIGINT, and run `beside` meanwhile."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_nursery() as nursery:
            if sink.metrics is not None:
                nursery.start_soon(observe_process, sink.metrics, NAME)
            nursery.start_soon(beside)
            await server.run(signals)
            nursery.cancel_scope.cancel()


@contextmanager
def _recorder(config: Config) -> Iterator[AuditRecorder]:
    """Open the audit of this process. Raises ConfigurationError."""
    metrics = ProcessMetrics.of_process()
    writer = AuditWriter.of(config, NAME, metrics)
    refuses = config.audit.on_full == "refuse"
    with closing(AuditRecorder(writer, refuses_when_full=refuses, metrics=metrics)) as sink:
        yield sink


def _note(sink: AuditRecorder, line: str) -> None:
    _log.info("%s", line)
    sink.write(ServiceEvent(time=when(time.time_ns()), event=NAME, detail=line))
