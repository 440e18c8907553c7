"""The worker process: connects all its parts, attaches to the agent, reloads and drains.

A reload prepares the new configuration beside the active one, then replaces it in one step. So a
request sees either the old configuration or the new one, never a mixture.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable

import trio

from crewgate import limits
from crewgate._datapath.in_flight import InFlightCalls
from crewgate._datapath.revocation_watch import RevocationWatch
from crewgate._datapath.socket_poller import SocketPoller
from crewgate._native.table import Table
from crewgate.audit.recorder import AuditRecorder
from crewgate.config import Config, HostPort
from crewgate.core.audit.record_builder import granted
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.core.x509.ocsp_result import CertificateStatus
from crewgate.errors import ConfigurationError, TableError
from crewgate.gateway.call.authorizer import GateAuthorizer
from crewgate.gateway.call.background_tasks import BackgroundTasks
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.rule_steps import RuleSteps
from crewgate.gateway.call.undecided_call import ListenerPolicy
from crewgate.gateway.routes import RouteTable
from crewgate.gateway.upstream_work.canceller import WorkCanceller
from crewgate.gateway.upstream_work.registry import WorkRegistry
from crewgate.gateway.worker.agent_connection import AgentConnection
from crewgate.gateway.worker.config_snapshot import ConfigSnapshot, prepare
from crewgate.gateway.worker.health import WorkerHealth, bounded
from crewgate.gateway.worker.listeners import Listeners
from crewgate.gateway.worker.worker_metrics import WorkerMetrics
from crewgate.ipc.attach_messages import Attached, RevocationAck, RevocationNotice
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.metrics.process_observer import observe_process
from crewgate.policy.certificate_token_signer import LocalSigner
from crewgate.runtime.listening import ListenAddress
from crewgate.server.auto_reset_event import AutoResetEvent
from crewgate.server.connection_authorizer import ClosableConnection
from crewgate.server.http2_settings import log_http2_library
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules, ask_nobody, disconnect_record
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.recently_revoked_keys import UnreportedDisconnects
from crewgate.server.request import ClientInfo
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver

_log = logging.getLogger(__name__)


class Worker:
    """Worker `index` of the configuration; it implements `AgentEvents` for its connection."""

    def __init__(
        self,
        config: Config,
        index: int,
        sink: AuditRecorder,
        *,
        given: dict[ListenAddress, socket.socket] | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`given` are listening sockets that the parent process keeps open.

        `on_ready` is called whenever a configuration is being served.
        """
        self._given, self._on_ready = given, on_ready
        self._is_retiring = False
        self._config = config
        self._sink = sink
        self._metrics = sink.metrics or ProcessMetrics.unshared()
        self._gauges, self._name = WorkerMetrics(self._metrics), f"worker-{index}"
        self._poller = SocketPoller()
        self._revocations = RevocationWatch(self._has_work, self._end_revoked)
        start_watch = self._revocations.start
        self._in_flight = InFlightCalls(round(limits.reservation_seconds_max * 1e9), start_watch)
        self._canceller = WorkCanceller(self._metrics)
        self._work = WorkRegistry(self._canceller.cancel, start_watch)
        self._pins = WorkerPins()
        self._agent = AgentConnection(config.state, index, self, self._pins)
        self._rule_steps = RuleSteps(
            sink.write, self._agent.send_end, self._metrics, self._poller.at_end
        )
        self._peer_connections = PeerConnections(start_watch)
        self._signer = LocalSigner()
        self._disconnects = UnreportedDisconnects()
        self._health = WorkerHealth(sink)
        self._reload_crl: Callable[[], None] = lambda: None
        self._poller.check_each_turn(self._revocations)
        wait = config.limits.credit_wait_seconds_max
        self._background_tasks = BackgroundTasks(wait, self._agent.send_overrun)
        self._resolver = Resolver()
        self._pools: set[UpstreamPool] = set()  # the active ones, and those that drain
        self._attachment: tuple[Table, int] | None = None  # the table, and our number in it
        self._authorizer: GateAuthorizer | None = None
        self._services: CallServices | None = None
        self._prepared: ConfigSnapshot | None = None
        self._wanted = -1  # the policy generation that is active in the agent
        self._changed = AutoResetEvent()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        SIGUSR2 means that another worker serves the sockets now: the worker retires.
        """
        handled = signal.SIGTERM, signal.SIGINT, signal.SIGUSR2
        with trio.open_signal_receiver(*handled) as signals:
            async with trio.open_nursery() as nursery:
                make = self._make_gateway, self._make_peer_authorizer
                listeners = Listeners(nursery, self._poller, *make, self._given, self._metrics)
                self._reload_crl = listeners.reload_crl_now
                nursery.start_soon(listeners.follow_crl)
                nursery.start_soon(self._poller.run)
                nursery.start_soon(self._resolver.run)
                nursery.start_soon(self._agent.run)
                nursery.start_soon(self._background_tasks.run)
                nursery.start_soon(self._canceller.run)
                nursery.start_soon(self._follow_config, listeners, nursery)
                nursery.start_soon(self._sweep, listeners)
                nursery.start_soon(observe_process, self._metrics, self._name)
                async for number in signals:
                    if number != signal.SIGUSR2:
                        break
                    nursery.start_soon(self._retire, listeners)
                await self._drain(listeners)
                nursery.cancel_scope.cancel()
        self._poller.close()

    # Called by the connection to the agent.

    def attached(self, attached: Attached, table: int) -> None:
        """Use the agent's table: the previous one, or a new one."""
        try:
            known = self._attachment
            if known is None or (known[0].life, known[1]) != (attached.life, attached.number):
                self._move(Table.attach(table), attached.number)
        except TableError as error:
            _log.warning("the agent's table cannot be used: %s", error)
            return
        finally:
            os.close(table)
        _log.info("attached to the agent as number %d", attached.number)
        log_http2_library()
        if self._authorizer is not None:
            self._send_accepting(accepting=True)
        self.reload(attached.policy_generation)

    def revoked(self, pushed: RevocationNotice) -> RevocationAck:
        """End the calls and connections of these keys, and all that the table says is revoked.

        The next scan cancels work at servers, so that no stream waits for that.
        """
        if self._prepared is not None and self._prepared.inquiry is not None:
            self._prepared.inquiry.forget(pushed.keys)
        to_close = self._peer_connections.close_set(pushed.keys)
        if self._attachment is not None:
            to_close |= self._peer_connections.revoked(self._attachment[0])
        count = (
            self._disconnect(to_close)
            + self._in_flight.terminate(pushed.keys)
            + self._in_flight.terminate_revoked()
        )
        self._reload_crl()
        now = time.monotonic_ns() if count or to_close else 0
        # A scan may have ended some of them before this push arrived: count those as well.
        scanned, last = self._in_flight.claim(pushed.keys)
        closed = self._disconnects.claim(pushed.keys)
        return RevocationAck(
            id=pushed.id,
            last_cut_ns=max(now, last, closed.last_ns),
            count=count + scanned + closed.calls,
            connections=len(to_close) + closed.connections,
        )

    def reload(self, generation: int) -> None:
        """Have `_follow_config` load the configuration of `generation`."""
        self._wanted = generation
        self._changed.set()

    def _move(self, table: Table, number: int) -> None:
        """Use another table, or another number; end the calls of a retired table."""
        self._attachment = (table, number)
        self._revocations.use(table)
        if self._authorizer is not None:
            self._authorizer.move(table, number)
            self._in_flight.terminate_revoked()
            self._work.cancel_revoked()
            # The watch could miss it: both tables may have the same generation.
            self._scan_peer_connections()

    def _make_gateway(self, policy: ListenerPolicy, routes: RouteTable) -> Gateway:
        if self._services is None:
            raise AssertionError("listeners are opened after the first attachment")
        return Gateway(policy, routes, self._services)

    def _make_peer_authorizer(self, rules: PeerRules) -> PeerAuthorizer:
        return PeerAuthorizer(
            rules, self._peer_connections, self._table, self._sink, self._check_status
        )

    async def _check_status(self, key: bytes, certificate: bytes) -> CertificateStatus:
        """Ask the OCSP responder of the active configuration."""
        inquiry = self._prepared.inquiry if self._prepared else None
        return await (inquiry.check if inquiry else ask_nobody)(key, certificate)

    def _table(self) -> Table:
        if self._attachment is None:
            raise AssertionError("listeners are opened after the first attachment")
        return self._attachment[0]

    def _disconnect(
        self,
        to_close: dict[ClosableConnection, ClientInfo],
        why: ConnectionRefusalReason = ConnectionRefusalReason.REVOKED,
    ) -> int:
        """Close connections because of their certificate; return how many calls that ended."""
        if not to_close:
            return 0
        count = self._in_flight.terminate_peers(to_close.values())
        for connection in to_close:
            self._peer_connections.leave(connection)
            connection.abort()
        now = time.time_ns()
        self._sink.write_many([disconnect_record(peer, now, why) for peer in to_close.values()])
        return count

    def _scan_peer_connections(self) -> None:
        """Close the connections that the table has revoked.

        Remember them: the push about them, which wants their number, may still arrive.
        """
        to_close = self._peer_connections.revoked(self._table())
        count = self._disconnect(to_close)
        self._disconnects.note(to_close.values(), count, time.monotonic_ns())

    def _send_accepting(self, *, accepting: bool) -> None:
        generation = self._authorizer.policy.generation if self._authorizer else 0
        self._agent.send_accepting(generation, accepting=accepting and not self._is_retiring)

    async def _follow_config(self, listeners: Listeners, nursery: trio.Nursery) -> None:
        """Load each configuration that the agent activates; retry while that fails."""
        while True:
            await self._changed.wait()
            while self._attachment is not None and self._generation() != self._wanted:
                try:
                    await self._load(self._wanted, listeners, nursery)
                except ConfigurationError as error:
                    what = "keeping the active configuration" if self._prepared else "cannot serve"
                    _log.warning("%s: %s", what, error)
                    self._health.trouble = f"{what}: {error}"
                    await trio.sleep(limits.reload_again_seconds)
            self._health.trouble = ""

    async def _retire(self, listeners: Listeners) -> None:
        """Let connections end, since another process serves our sockets; then end as on SIGTERM."""
        self._is_retiring = True
        self._send_accepting(accepting=False)
        await listeners.retire(self._config.drain_seconds * limits.drain_share)
        signal.raise_signal(signal.SIGTERM)

    async def _drain(self, listeners: Listeners) -> None:
        """Let calls end; end those that go on too long, which are recorded as cancelled by us."""
        self._send_accepting(accepting=False)
        with trio.move_on_after(self._config.drain_seconds * limits.drain_share):
            await listeners.drain(self._config.drain_seconds)
        self._in_flight.end_all()
        await listeners.drain(limits.drain_last_seconds)

    def _generation(self) -> int:
        return self._prepared.policy.generation if self._prepared else -1

    async def _load(self, generation: int, listeners: Listeners, nursery: trio.Nursery) -> None:
        pools = self._prepared.pools if self._prepared else {}
        services = self._poller, self._resolver
        previous = self._prepared.inquiry if self._prepared else None
        prepared = await trio.to_thread.run_sync(
            prepare, self._config.path, generation, self._signer, pools, *services, previous
        )
        self._adopt(prepared, listeners)
        if previous is not None and previous is not prepared.inquiry:
            nursery.start_soon(previous.close)
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
        """Activate what is prepared in one step, so that gate and routes have the same tools."""
        attachment = self._attachment
        if attachment is None:
            raise AssertionError("nothing is loaded before the first attachment")
        bound = listeners.bind(prepared)
        self._pins.load(prepared.config.pin_policies)
        if self._authorizer is None:
            self._authorizer = GateAuthorizer(
                *attachment,
                prepared.policy,
                self._agent.ask,
                at_end=self._poller.at_end,
                note_grant=lambda grant: self._sink.write(granted(grant, time.time_ns())),
                note_step=self._rule_steps.note,
            )
            self._services = CallServices(
                self._authorizer,
                self._in_flight,
                self._sink,
                self._poller,
                self._background_tasks,
                self._config.limits.credit_wait_seconds_max,
                self._metrics,
                self._work,
            )
            self._services.pins = self._pins
        else:
            self._authorizer.load(prepared.policy)
        self._rule_steps.begin(prepared.policy.loops)
        listeners.adopt(prepared, bound)
        self._canceller.use(prepared.routes.entries)
        self._prepared, self._config = prepared, prepared.config
        self._in_flight.terminate_revoked()  # the policy may trust fewer keys
        self._work.cancel_revoked()
        self._send_accepting(accepting=True)
        self._on_ready()
        sections = prepared.config.listeners
        urls = ", ".join(f"https://{HostPort(each.address, each.port)}" for each in sections)
        _log.info("serving configuration %d at %s", prepared.policy.generation, urls)
        for listener in sections:
            if listener.ocsp == "soft-fail":
                _log.info(
                    'WARNING: listener %s: ocsp = "soft-fail": if OCSP does not answer, a client '
                    "is admitted although its certificate may be revoked",
                    listener.name,
                )

    def _has_work(self) -> bool:
        """Return whether there is anything that a revocation could end."""
        return bool(self._in_flight or self._peer_connections or self._work)

    def _end_revoked(self) -> None:
        """End all that the table has revoked: the push of a revocation may be lost."""
        self._in_flight.end_revoked(time.monotonic_ns())
        self._scan_peer_connections()
        self._work.cancel_revoked()

    async def _sweep(self, listeners: Listeners) -> None:
        """Expire calls and connections, sweep the pools and report health, once a second."""
        while True:
            self._in_flight.sweep(time.time(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            self._disconnect(
                self._peer_connections.drain_expired(time.time()), ConnectionRefusalReason.EXPIRED
            )
            for pool in list(self._pools):
                pool.sweep(time.monotonic())
            self._work.sweep(time.monotonic())
            self._sink.tick()
            pools = self._prepared.pools.values() if self._prepared else ()
            facts = self._health.facts(listeners, pools, time.time(), trio.current_time())
            cancellations = self._canceller.facts(time.monotonic())
            self._agent.send_health(bounded([*facts, *cancellations]))
            self._agent.send_definitions()
            self._gauges.note(listeners, pools, self._in_flight, self._work)
            await trio.sleep(limits.sweep_seconds)
