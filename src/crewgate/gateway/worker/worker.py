"""One worker: everything a process needs to serve, wired together; attaches, reloads, drains.

The only place that knows all the parts. A reload is made ready beside what is in force and then
put in its place in one step, so that a request sees either the old configuration or the new.
"""

import os
import signal
import socket
import time
from collections.abc import Callable

import trio

from crewgate import limits
from crewgate._native.table import Table
from crewgate.audit.service_log import Voice
from crewgate.audit.sink import Sink
from crewgate.config import Config, Listener
from crewgate.core.verdict import PeerReason
from crewgate.core.x509.certificate_status import Status
from crewgate.errors import ConfigurationError, TableError
from crewgate.gateway.call.authorizer import GateJudge
from crewgate.gateway.call.background_tasks import Errands
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.in_flight import Live
from crewgate.gateway.call.pending_call import Door
from crewgate.gateway.routes import Site
from crewgate.gateway.worker.agent_connection import AgentLink
from crewgate.gateway.worker.config_snapshot import Prepared, prepare
from crewgate.gateway.worker.health import WorkerHealth, bounded
from crewgate.gateway.worker.listeners import Listeners
from crewgate.ipc.attach_messages import Attached, Cut, Revoked
from crewgate.policy.certificate_tokens import Signer
from crewgate.runtime.listening import Address
from crewgate.server import Guest, Peer, Poller
from crewgate.server.peer_authorizer import Doorman, Rules, ask_nobody, expelled
from crewgate.server.peer_connections import Guests
from crewgate.server.recent_revocations import Expelled
from crewgate.server.wakeup import Wakeup
from crewgate.upstream import Pool, Resolver


class Worker:
    """Worker `index` of the configuration. Is the `Ears` of its link."""

    def __init__(
        self,
        config: Config,
        index: int,
        sink: Sink,
        voice: Voice,
        *,
        given: dict[Address, socket.socket] | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`given` are sockets that a parent keeps; `on_ready` is called when they are served."""
        self._given, self._on_ready = given, on_ready
        self._is_retiring = False
        self._config = config
        self._sink = sink
        self._voice = voice
        self._somebody = Wakeup()  # a call or a connection came that a revocation could end
        self._live = Live(round(limits.reservation_seconds_max * 1e9), self._somebody.set)
        self._link = AgentLink(config.state, index, self)
        self._guests = Guests(self._somebody.set)
        self._signer = Signer()
        self._expelled = Expelled()
        self._health = WorkerHealth(sink)
        self._look_at_lists: Callable[[], None] = lambda: None
        self._poller = Poller()
        wait = config.limits.credit_wait_seconds_max
        self._errands = Errands(wait, self._link.tell_overrun, voice.say)
        self._resolver = Resolver()
        self._pools: set[Pool] = set()  # those in force, and those whose last calls end
        self._place: tuple[Table, int] | None = None  # the table, and our number in it
        self._judge: GateJudge | None = None
        self._prepared: Prepared | None = None
        self._wanted = -1  # the policy generation that the agent has in force
        self._changed = Wakeup()
        self._seen = -1  # the table's revocation generation at the last look

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; SIGUSR2: another has taken our place."""
        heard = signal.SIGTERM, signal.SIGINT, signal.SIGUSR2
        with trio.open_signal_receiver(*heard) as signals:
            async with trio.open_nursery() as nursery:
                make = self._make_gateway, self._make_doorman
                listeners = Listeners(nursery, self._poller, *make, self._given)
                self._look_at_lists = listeners.look
                nursery.start_soon(listeners.follow_lists, self._voice.say)
                nursery.start_soon(self._poller.run)
                nursery.start_soon(self._resolver.run)
                nursery.start_soon(self._link.run)
                nursery.start_soon(self._errands.run)
                nursery.start_soon(self._follow, listeners, nursery)
                nursery.start_soon(self._look_for_revocations)
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
            self._voice.say(f"the agent's table cannot be used: {error}")
            return
        finally:
            os.close(table)
        self._voice.tell(f"attached to the agent as number {attached.number}")
        if self._judge is not None:
            self._tell(accepting=True)
        self.reload(attached.policy_generation)

    def revoked(self, pushed: Revoked) -> Cut:
        """Cut the calls of the keys, and whatever else the table now says is dead."""
        if self._prepared is not None:
            self._prepared.forget(pushed.keys)
        doomed = self._guests.doomed(pushed.keys)
        if self._place is not None:
            doomed |= self._guests.revoked(self._place[0])
        count = self._expel(doomed) + self._live.cut(pushed.keys) + self._live.cut_revoked()
        self._look_at_lists()
        now = time.monotonic_ns() if count or doomed else 0
        before, last = self._live.claim(pushed.keys)  # the look came first
        gone = self._expelled.claim(pushed.keys)
        return Cut(
            id=pushed.id,
            last_cut_ns=max(now, last, gone.last_ns),
            count=count + before + gone.calls,
            connections=len(doomed) + gone.connections,
        )

    def reload(self, generation: int) -> None:
        """Have the configuration of `generation` loaded."""
        self._wanted = generation
        self._changed.set()

    def lost(self, why: str) -> None:
        """Say that the agent is away."""
        self._voice.say(why)

    def missed(self, why: str) -> None:
        """Say what the agent will not hear."""
        self._voice.say(why)

    # Inside.

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
            self._live.cut_revoked()
            self._look_at_guests()  # its generation may be that of the table before

    def _make_gateway(self, door: Door, site: Site) -> Gateway:
        if self._judge is None:
            raise AssertionError("listeners are opened after the first attachment")
        flights = self._live, self._sink, self._poller, self._errands
        gateway = Gateway(door, site, self._judge, *flights)
        gateway.wait_seconds = self._config.limits.credit_wait_seconds_max
        return gateway

    def _make_doorman(self, rules: Rules) -> Doorman:
        return Doorman(rules, self._guests, self._table, self._sink, self._check_status)

    async def _check_status(self, key: bytes, certificate: bytes) -> Status:
        """Ask whomever the configuration in force names."""
        inquiry = self._prepared.inquiry if self._prepared else None
        return await (inquiry.check if inquiry else ask_nobody)(key, certificate)

    def _table(self) -> Table:
        if self._place is None:
            raise AssertionError("listeners are opened after the first attachment")
        return self._place[0]

    def _expel(self, doomed: dict[Guest, Peer], why: PeerReason = PeerReason.REVOKED) -> int:
        """End connections for their certificate; how many calls that cut."""
        if not doomed:
            return 0
        count = self._live.cut_peers(doomed.values())
        for guest in doomed:
            self._guests.leave(guest)
            guest.abort()
        now = time.time_ns()
        self._sink.write_many([expelled(peer, now, why) for peer in doomed.values()])
        return count

    def _look_at_guests(self) -> None:
        """Expel whom the table has revoked, unasked; a push about them may be on its way."""
        doomed = self._guests.revoked(self._table())
        count = self._expel(doomed)
        self._expelled.note(doomed.values(), count, time.monotonic_ns())

    def _tell(self, *, accepting: bool) -> None:
        generation = self._judge.policy.generation if self._judge else 0
        self._link.tell_accepting(generation, accepting=accepting and not self._is_retiring)

    async def _follow(self, listeners: Listeners, nursery: trio.Nursery) -> None:
        """Load whatever configuration the agent has in force."""
        while True:
            await self._changed.wait()
            while self._place is not None and self._generation() != self._wanted:
                try:
                    await self._load(self._wanted, listeners, nursery)
                except ConfigurationError as error:
                    stays = "the configuration in force stays" if self._prepared else "cannot serve"
                    self._voice.say(f"{stays}: {error}")
                    self._health.trouble = f"{stays}: {error}"
                    await trio.sleep(limits.reload_again_seconds)
            self._health.trouble = ""

    async def _retire(self, listeners: Listeners) -> None:
        """Another process serves our sockets: end without haste, then as if told to end."""
        self._is_retiring = True
        self._tell(accepting=False)
        await listeners.retire(self._config.drain_seconds * limits.drain_share)
        signal.raise_signal(signal.SIGTERM)

    async def _drain(self, listeners: Listeners) -> None:
        """Let calls end; those that do not are cut as our doing, not as the client's."""
        self._tell(accepting=False)
        with trio.move_on_after(self._config.drain_seconds * limits.drain_share):
            await listeners.drain(self._config.drain_seconds)
        self._live.end_all()
        await listeners.drain(limits.drain_last_seconds)

    def _generation(self) -> int:
        return self._prepared.policy.generation if self._prepared else -1

    async def _load(self, generation: int, listeners: Listeners, nursery: trio.Nursery) -> None:
        pools = self._prepared.pools if self._prepared else {}
        ways = (self._poller, self._resolver, self._voice.say)
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

    async def _run_pool(self, pool: Pool) -> None:
        self._pools.add(pool)
        try:
            await pool.run()
        finally:
            self._pools.discard(pool)

    def _adopt(self, prepared: Prepared, listeners: Listeners) -> None:
        """Put what is prepared in force, in one step: the gate's tools and the site's agree."""
        place = self._place
        if place is None:
            raise AssertionError("nothing is loaded before the first attachment")
        bound = listeners.bind(prepared)
        if self._judge is None:
            self._judge = GateJudge(*place, prepared.policy, self._link.ask)
        else:
            self._judge.load(prepared.policy)
        listeners.adopt(prepared, bound)
        self._prepared, self._config = prepared, prepared.config
        self._live.cut_revoked()  # those whose key is no longer trusted
        self._tell(accepting=True)
        self._on_ready()
        doors = ", ".join(_url(face.section) for face in prepared.faces)
        self._voice.tell(f"serving configuration {prepared.policy.generation} at {doors}")
        for name in prepared.lenient():
            self._voice.tell(
                f'WARNING: listener {name}: ocsp = "soft-fail": whoever keeps OCSP from answering '
                "is admitted with a certificate that may be revoked"
            )

    async def _look_for_revocations(self) -> None:
        """See in the table what a lost push would have told, while there is somebody to end."""
        while True:
            while not self._live and not self._guests:
                await self._somebody.wait()
            await trio.sleep(limits.revocation_look_seconds)
            if self._place is not None:
                table = self._place[0]
                generation = table.revocation_generation
                if generation != self._seen or table.retired:
                    self._seen = generation
                    self._live.look(time.monotonic_ns())
                    self._look_at_guests()

    async def _sweep(self, listeners: Listeners) -> None:
        """Do once a second what no call has a timer for."""
        while True:
            self._live.sweep(time.time(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            self._expel(self._guests.drain_ended(time.time()), PeerReason.EXPIRED)
            for pool in list(self._pools):
                pool.sweep(time.monotonic())
            self._sink.tick()
            pools = self._prepared.pools.values() if self._prepared else ()
            facts = self._health.facts(listeners, pools, time.time(), trio.current_time())
            self._link.tell_health(bounded(facts))
            await trio.sleep(limits.sweep_seconds)


def _url(section: Listener) -> str:
    host = f"[{section.address}]" if ":" in section.address else section.address
    return f"https://{host}:{section.port}"
