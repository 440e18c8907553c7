"""The control process of one machine: with the CA's key it serves, without it keeps things going.

Ends only when a signal asks it to. Without the key it says once what it does not do; when the key
is there, it takes it up. If it cannot have something for a while (the agent, a file that is being
written), it tries again.
"""

import logging
import math
import signal
from collections.abc import AsyncIterator
from functools import partial

import trio

from crewgate import limits
from crewgate.audit.sink import AuditSink
from crewgate.ca.authority import has_key
from crewgate.config import CAConfig, Config
from crewgate.control.backend import ControlBackend
from crewgate.control.ca_client_tasks import CAClientTasks
from crewgate.control.health import ControlHealth
from crewgate.control.ocsp_socket import OCSPSocketServer
from crewgate.control.server import ControlServer
from crewgate.errors import AuthorityError, ConfigurationError, CrewgateError
from crewgate.policy.startup_checks import following
from crewgate.runtime.file_watch import FileWatch

_log = logging.getLogger(__name__)


class ControlProcess:
    """Works for a configuration until SIGTERM or SIGINT.

    `watch` of its file is older than `config`, which was read from it.
    """

    def __init__(self, config: Config, watch: FileWatch, sink: AuditSink) -> None:
        self._config = config
        self._watch = watch
        self._sink = sink
        ca = config.state if config.ca is None else config.ca.folder
        self._health = ControlHealth(config.state, ca, sink)
        self._why = ""  # the CA cannot be used, as far as that was said
        self._again = math.inf  # when a configuration that was bad is due (trio's clock)

    async def run(self) -> None:
        """Serve; ConfigurationError if the port cannot be had."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            failed: list[CrewgateError] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._health.run)
                try:
                    await self._work(signals)
                except CrewgateError as error:  # carried out by hand, to arrive as itself
                    failed.append(error)
                nursery.cancel_scope.cancel()
            if failed:
                raise failed[0]

    async def _work(self, signals: AsyncIterator[int]) -> None:
        backend = await self._await_authority(signals)
        if backend is not None:
            parts = self._sink, self._health
            await ControlServer(self._config, self._watch, backend, *parts).run(signals)

    async def _await_authority(self, signals: AsyncIterator[int]) -> ControlBackend | None:
        """The CA, once it can be used; None if a signal came first. ConfigurationError."""
        backend = self._open()
        if backend is not None:
            return backend
        upkeep = CAClientTasks(lambda: self._config, self._health)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
            nursery.start_soon(self._tick)
            nursery.start_soon(upkeep.renew)
            nursery.start_soon(upkeep.follow_list)
            ocsp_socket: OCSPSocketServer | None = None
            while backend is None:
                if ocsp_socket is None and self._config.remote is not None:
                    ocsp_socket = self._open_ocsp_socket(upkeep, nursery)
                await trio.sleep(limits.control_again_seconds)
                await self._follow()
                backend = self._open()
            nursery.cancel_scope.cancel()
        return backend

    def _open_ocsp_socket(
        self, upkeep: CAClientTasks, nursery: trio.Nursery
    ) -> OCSPSocketServer | None:
        """OCSP for this machine's workers, answered by the machine that has the key."""
        try:
            ocsp_socket = OCSPSocketServer(self._config.state, upkeep.answer)
        except ConfigurationError as error:
            self._explain(f"OCSP is not answered: {error}")
            return None
        nursery.start_soon(ocsp_socket.serve)
        return ocsp_socket

    def _open(self) -> ControlBackend | None:
        """Try; what is in the way is said once."""
        ca = self._config.ca
        if ca is None:  # the supervisor will end this process
            return None
        if not has_key(ca):
            self._explain(_keyless(self._config, ca))
            self._health.is_serving = True  # all that such a machine has to do
            self._health.note("CA")  # that could not be used before
            return None
        try:
            backend = ControlBackend(self._config, ca)
        except (AuthorityError, ConfigurationError) as error:
            why = f"the CA cannot be used, so nothing is issued or served here: {error}"
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
        """Take up another configuration, which may say that the CA is elsewhere.

        What the agent does not put in force, and says why, is tried again.
        """
        if self._watch.changed() or trio.current_time() >= self._again:
            self._again = math.inf
            try:
                self._config = await trio.to_thread.run_sync(partial(following, self._config))
            except ConfigurationError:
                self._again = trio.current_time() + limits.reload_refused_seconds

    async def _tick(self) -> None:
        while True:
            await trio.sleep(limits.sweep_seconds)
            self._sink.tick()


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _keyless(config: Config, ca: CAConfig) -> str:
    """What a machine without the key does not do, and where that is done."""
    what = "no key of the CA"
    if config.remote is not None:
        return (
            f"this machine has {what} ({ca.issuing_key}), so it serves no control API and issues "
            f"nothing: {config.remote} does, and what this one lacks is fetched there"
        )
    return (
        f"this machine has {what} ({ca.issuing_key}): it issues no certificate, answers no OCSP "
        "and serves no control API. Name the control API of the machine that has the key as "
        "`control` in [ca]; or put the key there, and it is taken up"
    )
