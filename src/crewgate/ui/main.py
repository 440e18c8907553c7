"""Runs the process of the live page: `python -m crewgate.ui -c FILE`; `crewgate serve` starts it.

Exit status 0 after SIGTERM or SIGINT; 2, with one line of log, if it cannot start. It loads a
changed configuration by itself. `crewgate ui` runs it in the foreground.
"""

import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import trio

from crewgate import limits
from crewgate._datapath.trio_host import TurnClock
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
# Prints links, until cancelled, in the page of a state with these codes.
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
    run_configured(config, watch)


def run_configured(config: Config, watch: FileWatch, print_links: PrintLinks | None = None) -> None:
    """Run the page as [ui] says, until SIGTERM or SIGINT. Raises CrewgateError, OSError."""
    folder = config.state / NAME
    with only_one(folder, NAME):
        page = _Page(config, watch, folder / SESSIONS, print_links, reports=True)
        page.run()


def run_local(
    config: Config,
    watch: FileWatch,
    sock: socket.socket,
    fitted: Callable[[Config], Config],
    print_links: PrintLinks,
) -> None:
    """Run a page of its own at a listening socket, whose sessions end with the process.

    `fitted` returns a configuration with a [ui] for that socket, as `config` has. Raises
    CrewgateError, OSError.
    """
    page = _Page(config, watch, None, print_links, reports=False)
    page.run(sock, fitted)


class _Page:
    """One run of the page; with `reports` the agent hears of its health."""

    def __init__(
        self,
        config: Config,
        watch: FileWatch,
        sessions: Path | None,
        print_links: PrintLinks | None,
        *,
        reports: bool,
    ) -> None:
        self._config = config
        self._watch = watch
        self._sessions = sessions
        self._print_links = print_links
        self._reports = reports

    def run(
        self,
        sock: socket.socket | None = None,
        fitted: Callable[[Config], Config] = lambda config: config,
    ) -> None:
        """Open the audit, and serve until SIGTERM or SIGINT."""
        config, metrics = self._config, ProcessMetrics.of_process()
        writer = AuditWriter.of(config, NAME, metrics)
        refuses = config.audit.on_full == "refuse"
        sink = AuditRecorder(writer, refuses_when_full=refuses, metrics=metrics)
        with closing(sink):
            trio.run(self._serve, sink, sock, fitted, clock=TurnClock())

    async def _serve(
        self,
        sink: AuditRecorder,
        sock: socket.socket | None,
        fitted: Callable[[Config], Config],
    ) -> None:
        def note(line: str) -> None:
            _log.info("%s", line)
            sink.write(ServiceEvent(time=when(time.time_ns()), event=NAME, detail=line))

        state = PageState(self._config, note)
        codes = None if self._print_links is None else OneTimeCodes()
        login = LoginService(state, Sessions(self._sessions), codes)
        machine = self._config.name or socket.gethostname()
        server = PageServer(state, login, sink, self._watch, machine, fitted=fitted, given=sock)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with open_nursery() as nursery:
                if sink.metrics is not None:
                    nursery.start_soon(observe_process, sink.metrics, NAME)
                if self._reports:
                    nursery.start_soon(PageHealth(state.folder, login, sink).run)
                if self._print_links is not None and codes is not None:
                    nursery.start_soon(self._print_links, state, codes)
                await server.run(signals)
                nursery.cancel_scope.cancel()
