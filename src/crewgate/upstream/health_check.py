"""How servers are asked whether they are well, beside all calls.

All of them always where that is configured (active health), else those that calls have found dead,
until they are back. A probe is a connection of its own, with the health request on it or nothing.
What an answer means for calls is the breaker's to decide.
"""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus

import trio

from crewgate import limits
from crewgate.config import UpstreamConfig
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host, LeastRequestBalancer
from crewgate.upstream.connector import Connector
from crewgate.upstream.interfaces import (
    OURS,
    CallObserver,
    DeliveryState,
    RequestHead,
    RequestStream,
    ReuseKey,
    UpstreamConnection,
)

_log = logging.getLogger(__name__)


class HealthChecker:
    """Probes `members`. `turned` hears whose circuit a probe has opened or closed, and why."""

    def __init__(
        self,
        upstream: UpstreamConfig,
        members: LeastRequestBalancer,
        opener: Connector,
        turned: Callable[[Host, str], None],
    ) -> None:
        self._upstream = upstream
        self._members = members
        self._opener = opener
        self._on_change = turned
        self._is_at_work = False

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, if there is reason to; ends by itself. To be called when a circuit has opened."""
        if not self._is_at_work:
            self._is_at_work = True
            nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                while self._has_reason():
                    for member in self._members.due(time.monotonic()):
                        nursery.start_soon(self._probe, member)
                    await trio.sleep(limits.probe_look_seconds)
        finally:
            self._is_at_work = False

    def _has_reason(self) -> bool:
        if self._upstream.health is not None:
            return True
        return any(not member.breaker.admits for member in self._members)

    async def _probe(self, member: Host) -> None:
        try:
            trouble = await self._ask(member)
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("a probe of a tool's server ended by an error of ours")
            trouble = OURS
        if self._members.probed(member, time.monotonic(), good=not trouble):
            self._on_change(member, f"probes failed: {trouble}" if trouble else "probes went well")

    async def _ask(self, member: Host) -> str:
        """What is wrong with it; nothing if it is well."""
        health = self._upstream.health
        seconds = health.timeout_seconds if health else self._upstream.connect_seconds
        probe = _Probe(seconds)
        with trio.move_on_after(seconds):
            try:
                connection = await self._opener.open(member, probe)
            except UpstreamError as error:
                return str(error)
            try:
                return "" if health is None else await probe.ask(connection, health.path)
            finally:
                connection.abort()
        return f"no answer in {seconds:g} s"


class _Probe:
    """One health request: `Owner` of its connection and `CallObserver` on it."""

    attempts = 0
    reuse_key: ReuseKey = ""
    wait_turn: tuple[ReuseKey, ...] = ("",)
    over = False
    repeatable = False
    idempotent = True

    def __init__(self, seconds: float) -> None:
        self.now = 0.0  # it has a deadline of its own
        self.first_byte_seconds = self.idle_seconds = seconds
        self._head = RequestHead(b"GET", b"/", 0)
        self._trouble = ""
        self._done = trio.Event()
        self._carrier: RequestStream | None = None

    async def ask(self, connection: UpstreamConnection, path: str) -> str:
        """Ask for `path`; return what is wrong with the answer. The caller bounds the wait."""
        fields = ((b"user-agent", b"crewgate-health"),)
        self._head = RequestHead(
            b"GET", path.encode(), 0, b"user-agent: crewgate-health\r\n", fields
        )
        connection.carry(self)
        await self._done.wait()
        return self._trouble

    def begun(self, carrier: RequestStream) -> None:
        """Send the request."""
        self._carrier = carrier
        carrier.begin(self._head, b"", ends=True)

    def again(self) -> None:
        """Nobody tries a probe again."""

    def progressed(self) -> None:
        """See the status."""
        status = self._carrier.answer.status if self._carrier else 0
        if status:
            if not HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
                self._trouble = f"GET {self._head.target.decode()}: {status}"
            self._done.set()

    def writable(self) -> None:
        """There is no body."""

    def failed(self, error: UpstreamError) -> None:
        """It is not well."""
        self._trouble = str(error)
        self._done.set()

    def left(self, connection: UpstreamConnection, *, answered: bool) -> None:
        """The connection is not kept."""

    def freed(self, connection: UpstreamConnection) -> None:
        """The connection is not kept."""

    def rests(self, connection: UpstreamConnection) -> None:
        """The connection is not kept."""

    def ended(self, connection: UpstreamConnection) -> None:
        """The connection is closed."""

    def broke(
        self,
        connection: UpstreamConnection,
        caller: CallObserver,
        error: UpstreamError,
        fate: DeliveryState,
    ) -> None:
        """It is not well."""
        del connection, caller, fate
        self.failed(error)
