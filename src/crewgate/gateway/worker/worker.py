"""One worker: everything a process needs to serve, wired together; attaches, reloads, drains.

The only place that knows all the parts. A reload is made ready beside what is in force and then
put in its place in one step, so that a request sees either the old configuration or the new.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable

import trio

from crewgate import limits
from crewgate._native.table import Table
from crewgate.audit.sink import AuditSink
from crewgate.config import Config, ListenerConfig
from crewgate.core.verdict import PeerReason
from crewgate.core.x509.certificate_status import CertificateStatus
from crewgate.errors import ConfigurationError, TableError
from crewgate.gateway.call.authorizer import GateAuthorizer
from crewgate.gateway.call.background_tasks import BackgroundTasks
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.in_flight import InFlightCalls
from crewgate.gateway.call.pending_call import ListenerPolicy
from crewgate.gateway.routes import RouteTable
from crewgate.gateway.worker.agent_connection import AgentConnection
from crewgate.gateway.worker.config_snapshot import ConfigSnapshot, prepare
from crewgate.gateway.worker.health import WorkerHealth, bounded
from crewgate.gateway.worker.listeners import Listeners
from crewgate.ipc.attach_messages import Attached, CutReport, KeysRevoked
from crewgate.policy.certificate_tokens import LocalSigner
from crewgate.runtime.listening import ListenAddress
from crewgate.server import AuthorizedConnection, ClientInfo, Poller
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules, ask_nobody, disconnect_record
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.recent_revocations import ScannedDisconnects
from crewgate.server.wakeup import WakeupEvent
from crewgate.upstream import Resolver, UpstreamPool

_log = logging.getLogger(__name__)


class Worker:
    """Worker `index` of the configuration. Is the `AgentEvents` of its connection."""

    def __init__(
        self,
        config: Config,
        index: int,
        sink: AuditSink,
        *,
        given: dict[ListenAddress, socket.socket] | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`given` are sockets that a parent keeps; `on_ready` is called when they are served."""
        self._given, self._on_ready = given, on_ready
        self._is_retiring = False
        self._config = config
        self._sink = sink
        self._somebody = WakeupEvent()  # a call or a connection came that a revocation could end
        self._in_flight = InFlightCalls(
            round(limits.reservation_seconds_max * 1e9), self._somebody.set
        )
        self._link = AgentConnection(config.state, index, self)
        self._peer_connections = PeerConnections(self._somebody.set)
        self._signer = LocalSigner()
        self._disconnects = ScannedDisconnects()
        self._health = WorkerHealth(sink)
        self._look_at_lists: Callable[[], None] = lambda: None
        self._poller = Poller()
        wait = config.limits.credit_wait_seconds_max
        self._background_tasks = BackgroundTasks(wait, self._link.send_overrun)
        self._resolver = Resolver()
        self._pools: set[UpstreamPool] = set()  # those in force, and those whose last calls end
        self._place: tuple[Table, int] | None = None  # the table, and our number in it
        self._judge: GateAuthorizer | None = None
        self._services: CallServices | None = None
        self._prepared: ConfigSnapshot | None = None
        self._wanted = -1  # the policy generation that the agent has in force
        self._changed = WakeupEvent()
        self._seen = -1  # the table's revocation generation at the last look

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; SIGUSR2: another has taken our place."""
        heard = signal.SIGTERM, signal.SIGINT, signal.SIGUSR2
        with trio.open_signal_receiver(*heard) as signals:
            async with trio.open_nursery() as nursery:
                make = self._make_gateway, self._make_peer_authorizer
                listeners = Listeners(nursery, self._poller, *make, self._given)
                self._look_at_lists = listeners.reload_crl_now
                nursery.start_soon(listeners.follow_crl)
                nursery.start_soon(self._poller.run)
                nursery.start_soon(self._resolver.run)
                nursery.start_soon(self._link.run)
                nursery.start_soon(self._background_tasks.run)
                nursery.start_soon(self._follow, listeners, nursery)
                nursery.start_soon(self._scan_for_revocations)
                nursery.start_soon(self._sweep, listeners)
                async for number in signals:
                    if number != signal.SIGUSR2:
                        break
                    nursery.start_soon(self._retire, listeners)
                await self._drain(listeners)
                nursery.cancel_scope.cancel()
        self._poller.close()

    # The link's side.

    def attached(self, attached: Attached, table: int) -> None:
        """Judge by the agent's table: the one there was, or another."""
        try:
            if not self._has_place(attached):
                self._move(Table.attach(table), attached.number)
        except TableError as error:
            _log.warning("the agent's table cannot be used: %s", error)
            return
        finally:
            os.close(table)
        _log.info("attached to the agent as number %d", attached.number)
        if self._judge is not None:
            self._send_accepting(accepting=True)
        self.reload(attached.policy_generation)

    def revoked(self, pushed: KeysRevoked) -> CutReport:
        """Cut the calls of the keys, and whatever else the table now says is dead."""
        if self._prepared is not None:
            self._prepared.forget(pushed.keys)
        doomed = self._peer_connections.close_set(pushed.keys)
        if self._place is not None:
            doomed |= self._peer_connections.revoked(self._place[0])
        count = (
            self._disconnect(doomed)
            + self._in_flight.terminate(pushed.keys)
            + self._in_flight.terminate_revoked()
        )
        self._look_at_lists()
        now = time.monotonic_ns() if count or doomed else 0
        before, last = self._in_flight.claim(pushed.keys)  # the look came first
        gone = self._disconnects.claim(pushed.keys)
        return CutReport(
            id=pushed.id,
            last_cut_ns=max(now, last, gone.last_ns),
            count=count + before + gone.calls,
            connections=len(doomed) + gone.connections,
        )

    def reload(self, generation: int) -> None:
        """Have the configuration of `generation` loaded."""
        self._wanted = generation
        self._changed.set()

    def _has_place(self, attached: Attached) -> bool:
        """Return whether the agent has given back what we had before it was restarted."""
        if self._place is None:
            return False
        table, number = self._place
        return table.life == attached.life and number == attached.number

    def _move(self, table: Table, number: int) -> None:
        """Judge by another table or under another number; calls of a retired table are cut."""
        self._place = (table, number)
        if self._judge is not None:
            self._judge.move(table, number)
            self._in_flight.terminate_revoked()
            self._scan_peer_connections()  # its generation may be that of the table before

    def _make_gateway(self, policy: ListenerPolicy, routes: RouteTable) -> Gateway:
        if self._services is None:
            raise AssertionError("listeners are opened after the first attachment")
        return Gateway(policy, routes, self._services)

    def _make_peer_authorizer(self, rules: PeerRules) -> PeerAuthorizer:
        return PeerAuthorizer(
            rules, self._peer_connections, self._table, self._sink, self._check_status
        )

    async def _check_status(self, key: bytes, certificate: bytes) -> CertificateStatus:
        """Ask whomever the configuration in force names."""
        inquiry = self._prepared.inquiry if self._prepared else None
        return await (inquiry.check if inquiry else ask_nobody)(key, certificate)

    def _table(self) -> Table:
        if self._place is None:
            raise AssertionError("listeners are opened after the first attachment")
        return self._place[0]

    def _disconnect(
        self, doomed: dict[AuthorizedConnection, ClientInfo], why: PeerReason = PeerReason.REVOKED
    ) -> int:
        """End connections for their certificate; how many calls that cut."""
        if not doomed:
            return 0
        count = self._in_flight.terminate_peers(doomed.values())
        for connection in doomed:
            self._peer_connections.leave(connection)
            connection.abort()
        now = time.time_ns()
        self._sink.write_many([disconnect_record(peer, now, why) for peer in doomed.values()])
        return count

    def _scan_peer_connections(self) -> None:
        """Expel whom the table has revoked, unasked; a push about them may be on its way."""
        doomed = self._peer_connections.revoked(self._table())
        count = self._disconnect(doomed)
        self._disconnects.note(doomed.values(), count, time.monotonic_ns())

    def _send_accepting(self, *, accepting: bool) -> None:
        generation = self._judge.policy.generation if self._judge else 0
        self._link.send_accepting(generation, accepting=accepting and not self._is_retiring)

    async def _follow(self, listeners: Listeners, nursery: trio.Nursery) -> None:
        """Load whatever configuration the agent has in force."""
        while True:
            await self._changed.wait()
            while self._place is not None and self._generation() != self._wanted:
                try:
                    await self._load(self._wanted, listeners, nursery)
                except ConfigurationError as error:
                    stays = "the configuration in force stays" if self._prepared else "cannot serve"
                    _log.warning("%s: %s", stays, error)
                    self._health.trouble = f"{stays}: {error}"
                    await trio.sleep(limits.reload_again_seconds)
            self._health.trouble = ""

    async def _retire(self, listeners: Listeners) -> None:
        """Another process serves our sockets: end without haste, then as if told to end."""
        self._is_retiring = True
        self._send_accepting(accepting=False)
        await listeners.retire(self._config.drain_seconds * limits.drain_share)
        signal.raise_signal(signal.SIGTERM)

    async def _drain(self, listeners: Listeners) -> None:
        """Let calls end; those that do not are cut as our doing, not as the client's."""
        self._send_accepting(accepting=False)
        with trio.move_on_after(self._config.drain_seconds * limits.drain_share):
            await listeners.drain(self._config.drain_seconds)
        self._in_flight.end_all()
        await listeners.drain(limits.drain_last_seconds)

    def _generation(self) -> int:
        return self._prepared.policy.generation if self._prepared else -1

    async def _load(self, generation: int, listeners: Listeners, nursery: trio.Nursery) -> None:
        pools = self._prepared.pools if self._prepared else {}
        ways = self._poller, self._resolver
        before = self._prepared.inquiry if self._prepared else None
        prepared = await trio.to_thread.run_sync(
            prepare, self._config.path, generation, self._signer, pools, *ways, before
        )
        self._adopt(prepared, listeners)
        if before is not None and before is not prepared.inquiry:
            nursery.start_soon(before.close)
        for upstream, pool in prepared.pools.items():
            if upstream not in pools:
                nursery.start_soon(self._run_pool, pool)
        for upstream, pool in pools.items():
            if upstream not in prepared.pools:
                pool.close()

    async def _run_pool(self, pool: UpstreamPool) -> None:
        self._pools.add(pool)
        try:
            await pool.run()
        finally:
            self._pools.discard(pool)

    def _adopt(self, prepared: ConfigSnapshot, listeners: Listeners) -> None:
        """Put what is prepared in force, in one step: the gate's tools and the site's agree."""
        place = self._place
        if place is None:
            raise AssertionError("nothing is loaded before the first attachment")
        bound = listeners.bind(prepared)
        if self._judge is None:
            self._judge = GateAuthorizer(*place, prepared.policy, self._link.ask)
            self._services = CallServices(
                self._judge,
                self._in_flight,
                self._sink,
                self._poller,
                self._background_tasks,
                self._config.limits.credit_wait_seconds_max,
            )
        else:
            self._judge.load(prepared.policy)
        listeners.adopt(prepared, bound)
        self._prepared, self._config = prepared, prepared.config
        self._in_flight.terminate_revoked()  # those whose key is no longer trusted
        self._send_accepting(accepting=True)
        self._on_ready()
        doors = ", ".join(_url(face.section) for face in prepared.listeners)
        _log.info("serving configuration %d at %s", prepared.policy.generation, doors)
        for name in prepared.lenient():
            _log.info(
                'WARNING: listener %s: ocsp = "soft-fail": whoever keeps OCSP from answering is '
                "admitted with a certificate that may be revoked",
                name,
            )

    async def _scan_for_revocations(self) -> None:
        """See in the table what a lost push would have told, while there is somebody to end."""
        while True:
            while not self._in_flight and not self._peer_connections:
                await self._somebody.wait()
            await trio.sleep(limits.revocation_look_seconds)
            if self._place is not None:
                table = self._place[0]
                generation = table.revocation_generation
                if generation != self._seen or table.retired:
                    self._seen = generation
                    self._in_flight.end_revoked(time.monotonic_ns())
                    self._scan_peer_connections()

    async def _sweep(self, listeners: Listeners) -> None:
        """Do once a second what no call has a timer for."""
        while True:
            self._in_flight.sweep(time.time(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            self._disconnect(self._peer_connections.drain_expired(time.time()), PeerReason.EXPIRED)
            for pool in list(self._pools):
                pool.sweep(time.monotonic())
            self._sink.tick()
            pools = self._prepared.pools.values() if self._prepared else ()
            facts = self._health.facts(listeners, pools, time.time(), trio.current_time())
            self._link.send_health(bounded(facts))
            await trio.sleep(limits.sweep_seconds)


def _url(section: ListenerConfig) -> str:
    host = f"[{section.address}]" if ":" in section.address else section.address
    return f"https://{host}:{section.port}"
