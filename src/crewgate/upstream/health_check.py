"""Probes the servers of an upstream in the background and reports the results to their circuits.

With health checks configured, it probes all servers, always. Without, it probes only servers whose
circuit is open, until it closes. Each probe opens a connection of its own and sends the health
request on it, or nothing. The circuit breaker decides what the result means for calls.
"""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus

import trio

from crewgate import limits
from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate.config import UpstreamConfig
from crewgate.core.delivery import OURS, DeliveryState
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host, LeastRequestBalancer
from crewgate.upstream.connector import Connector
from crewgate.upstream.interfaces import (
    CallObserver,
    RequestHead,
    RequestStream,
    ReuseKey,
    UpstreamConnection,
)

_log = logging.getLogger(__name__)


class HealthChecker:
    """Probes `hosts`; if that opens or closes a circuit, calls `on_change` with host and reason."""

    def __init__(
        self,
        upstream: UpstreamConfig,
        hosts: LeastRequestBalancer,
        connector: Connector,
        on_change: Callable[[Host, str], None],
    ) -> None:
        self._upstream = upstream
        self._hosts = hosts
        self._connector = connector
        self._on_change = on_change
        self._is_running = False

    def start(self, nursery: trio.Nursery) -> None:
        """Probe in the background as long as needed; call this at start and if a circuit opens."""
        if not self._is_running:
            self._is_running = True
            nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                while self._is_needed():
                    for host in self._hosts.due(time.monotonic()):
                        nursery.start_soon(self._probe, host)
                    await trio.sleep(limits.probe_look_seconds)
        finally:
            self._is_running = False

    def _is_needed(self) -> bool:
        if self._upstream.health is not None:
            return True
        return any(not host.breaker.admits for host in self._hosts)

    async def _probe(self, host: Host) -> None:
        try:
            problem = await self._check(host)
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("failing the probe of %s: internal error", host.name)
            problem = OURS
        if self._hosts.probed(host, time.monotonic(), good=not problem):
            self._on_change(host, f"probes failed: {problem}" if problem else "probes succeeded")

    async def _check(self, host: Host) -> str:
        """Return what is wrong with a server; "" if it is healthy."""
        health = self._upstream.health
        seconds = health.timeout_seconds if health else self._upstream.connect_seconds
        probe = _Probe(seconds)
        with trio.move_on_after(seconds):
            try:
                connection = await self._connector.open(host, probe)
            except UpstreamError as error:
                return str(error)
            try:
                return "" if health is None else await probe.ask(connection, health.path)
            finally:
                connection.abort()
        return f"no response within {seconds:g} s"


class _Probe(PoolCallbacks):
    """One health request: it has a connection to itself, which asks it about the pool."""

    attempts = 0
    reuse_key: ReuseKey = ""
    wait_turn: tuple[ReuseKey, ...] = ("",)
    over = False
    repeatable = False
    idempotent = True

    def __init__(self, seconds: float) -> None:
        self.first_byte_seconds = self.idle_seconds = self.keep_seconds = seconds
        self._head = RequestHead(b"GET", b"/", 0)
        self._problem = ""
        self._done = trio.Event()
        self._stream: RequestStream | None = None

    async def ask(self, connection: UpstreamConnection, path: str) -> str:
        """Request `path`; return what is wrong with the response. The caller bounds the wait."""
        fields = ((b"user-agent", b"crewgate-health"),)
        self._head = RequestHead(
            b"GET", path.encode(), 0, b"user-agent: crewgate-health\r\n", fields
        )
        connection.carry(self)
        await self._done.wait()
        return self._problem

    def begun(self, stream: RequestStream) -> None:
        """Send the request."""
        self._stream = stream
        stream.begin(self._head, b"", ends=True)

    def again(self) -> None:
        """Do nothing: the pool does not retry probes, and the request has no body."""

    writable = again

    def progressed(self) -> None:
        """Check the status, once it has arrived."""
        status = self._stream.answer.status if self._stream else 0
        if status:
            if not HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
                self._problem = f"GET {self._head.target.decode()}: status {status}"
            self._done.set()

    def failed(self, error: UpstreamError) -> None:
        """Report the error as the result of the probe."""
        self._problem = str(error)
        self._done.set()

    def ended(self, *_: object, **__: object) -> None:
        """Do nothing: the connection is not kept."""

    left = freed = rests = ended

    def broke(
        self,
        connection: UpstreamConnection,
        caller: CallObserver,
        error: UpstreamError,
        delivery: DeliveryState,
    ) -> None:
        """Report the error as the result of the probe."""
        del connection, caller, delivery
        self.failed(error)
