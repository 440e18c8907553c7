"""The control process: serves with the CA's key; without it, keeps this machine's files fresh.

It ends only after a signal. Without the key, it logs once what it does not do; when the key is
there, it starts to serve. If something is missing for a while (the agent, a file that is being
written), it tries again.
"""

import logging
import signal
import socket
from collections.abc import AsyncIterator, Mapping

import trio

from crewgate import limits
from crewgate.audit.recorder import AuditRecorder
from crewgate.ca.authority import has_key
from crewgate.config import CAConfig, Config
from crewgate.control.ca_client_tasks import CAClientTasks
from crewgate.control.health import ControlHealth
from crewgate.control.ocsp_socket import OCSPSocketServer
from crewgate.control.server import ControlServer
from crewgate.control.threaded_backend import ThreadedBackend
from crewgate.errors import CAError, ConfigurationError
from crewgate.policy.serve_config_checks import following
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.listening import ListenAddress
from crewgate.runtime.nursery import open_nursery

_log = logging.getLogger(__name__)


class ControlProcess:
    """The control process. Its `watch` of the configuration file is older than `config`.

    `given` are listening sockets of a service manager, by address.
    """

    def __init__(
        self,
        config: Config,
        watch: FileWatch,
        sink: AuditRecorder,
        given: Mapping[ListenAddress, socket.socket] | None = None,
    ) -> None:
        self._given = given or {}
        self._config = config
        self._watch = watch
        self._sink = sink
        ca = config.state if config.ca is None else config.ca.folder
        self._health = ControlHealth(config.state, ca, sink)
        self._why = ""  # the last logged reason why the CA cannot be used

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; ConfigurationError if the port is not free."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with open_nursery() as nursery:
                nursery.start_soon(self._health.run)
                backend = await self._await_authority(signals)
                if backend is not None:
                    parts = self._watch, backend, self._sink, self._health
                    await ControlServer(self._config, *parts, self._given).run(signals)
                nursery.cancel_scope.cancel()

    async def _await_authority(self, signals: AsyncIterator[int]) -> ThreadedBackend | None:
        """Return the backend once the CA can be used; None if a signal comes first."""
        backend = self._open()
        if backend is not None:
            return backend
        tasks = CAClientTasks(lambda: self._config, self._health)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
            nursery.start_soon(self._tick)
            nursery.start_soon(tasks.renew)
            nursery.start_soon(tasks.follow_list)
            ocsp_socket: OCSPSocketServer | None = None
            while backend is None:
                if ocsp_socket is None and self._config.remote is not None:
                    ocsp_socket = self._open_ocsp_socket(tasks, nursery)
                await trio.sleep(limits.control_again_seconds)
                await self._follow()
                backend = self._open()
            nursery.cancel_scope.cancel()
        return backend

    def _open_ocsp_socket(
        self, tasks: CAClientTasks, nursery: trio.Nursery
    ) -> OCSPSocketServer | None:
        """Serve OCSP to this machine's workers, answered by the machine with the key."""
        try:
            ocsp_socket = OCSPSocketServer(self._config.state, tasks.answer)
        except ConfigurationError as error:
            self._explain(f"this machine's workers get no OCSP answers: {error}")
            return None
        nursery.start_soon(ocsp_socket.serve)
        return ocsp_socket

    def _open(self) -> ThreadedBackend | None:
        """Return the backend, or None and log once why the CA cannot be used."""
        ca = self._config.ca
        if ca is None:  # the supervisor will end this process
            return None
        if not has_key(ca):
            self._explain(_keyless(self._config, ca))
            # A machine without the key does all that it must.
            self._health.is_serving = True
            self._health.note("CA")
            return None
        try:
            backend = ThreadedBackend(self._config, ca)
        except (CAError, ConfigurationError) as error:
            why = f"the CA cannot be used, so this machine issues and serves nothing: {error}"
            self._health.note("CA", why)
            self._explain(why)
            return None
        self._health.note("CA")
        self._health.is_signing = True
        return backend

    def _explain(self, why: str) -> None:
        if why != self._why:
            _log.info("%s", why)
        self._why = why

    async def _follow(self) -> None:
        """Load a changed configuration; try a bad one, which the agent reports, again later."""
        if self._watch.is_due():
            try:
                self._config = await trio.to_thread.run_sync(following, self._config)
            except ConfigurationError:
                self._watch.retry_later()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(limits.sweep_seconds)
            self._sink.tick()


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _keyless(config: Config, ca: CAConfig) -> str:
    """Return what a machine without the key does not do, and which machine does it."""
    if config.remote is not None:
        return (
            f"this machine has no key of the CA ({ca.issuing_key}), so it serves no control API "
            f"and issues nothing; it gets certificates, CRL and OCSP answers from {config.remote}"
        )
    return (
        f"this machine has no key of the CA ({ca.issuing_key}): it issues no certificate, answers "
        "no OCSP and serves no control API. Name the control API of the machine that has the key "
        "as `control` in [ca]; or put the key there, and this process uses it without a restart"
    )
