"""Runs the admin process: `python -m crewgate.admin -c FILE`; `crewgate serve` starts it.

Exit status 0 after SIGTERM or SIGINT; 2, with one line of log, if it cannot start. `crewgate serve`
starts it again after a change of [admin].
"""

import logging
import signal
from collections.abc import Callable
from pathlib import Path

import trio

from crewgate import limits
from crewgate.admin.listener import AdminListener
from crewgate.admin.metrics_page import MetricsPage
from crewgate.admin.probes import Probes
from crewgate.config import AdminConfig, load
from crewgate.errors import ConfigurationError
from crewgate.ipc import sockets
from crewgate.metrics.process_metrics import ProcessMetrics, shared_descriptor
from crewgate.metrics.process_observer import observe_process
from crewgate.policy.serve_config_checks import cannot_listen
from crewgate.runtime.file_process import run_process
from crewgate.runtime.listening import listen, taken
from crewgate.server.plaintext_http1 import PlaintextRequest, PlaintextResponse

_NAME = "admin"
_SOCKET_MODE = 0o660
_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the admin process, and return the exit status."""
    return run_process(_NAME, __doc__, _run, arguments, nice=limits.admin_nice)


def _run(file: Path) -> None:
    config = load(file)
    if config.admin is None:
        raise ConfigurationError(f"{config.path}: there is no [admin]; add the section")
    trio.run(_serve, config.path, config.admin, Probes(config.state))


async def _serve(path: Path, section: AdminConfig, probes: Probes) -> None:
    metrics = ProcessMetrics.of_process()
    answers: dict[str, Callable[[PlaintextRequest], PlaintextResponse]] = {
        "/livez": lambda _: probes.live(),
        "/readyz": lambda _: probes.ready(),
        "/metrics": MetricsPage(shared_descriptor()).answer,
    }
    *first, last = answers
    named = f"{', '.join(first)} and {last}"
    index = PlaintextResponse(404, f"this listener has {named}\n".encode())
    threads = trio.CapacityLimiter(limits.admin_threads_max)

    async def respond(request: PlaintextRequest) -> PlaintextResponse:
        answer = answers.get(request.path)
        if answer is None:
            return index
        return await trio.to_thread.run_sync(answer, request, limiter=threads)

    listener = _listen(path, section)
    where = section.socket or f"http://{section.place}"
    _log.info("%s at %s", named, where)
    is_local = section.socket is None and not section.remote
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(AdminListener(listener, respond, is_local=is_local).run)
            nursery.start_soon(observe_process, metrics, _NAME)
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


def _listen(path: Path, section: AdminConfig) -> trio.SocketListener:
    """Listen where `section` says. Raises ConfigurationError."""
    place = section.place
    if isinstance(place, Path):
        sock = sockets.listen_anew(place.parent, place.name, _SOCKET_MODE)
    else:
        if (error := taken(place.host, place.port)) is not None:
            raise cannot_listen(path, section, error)
        sock = listen(place.host, place.port, where="[admin]")
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
