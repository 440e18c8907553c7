"""Opens, changes and drains the listeners of a worker as its configuration says.

Over a reload, a listener that stays keeps its socket and its connections. If its certificate
changes, each of its connections is closed as soon as it is idle. A new certificate revocation list
(CRL) applies to new handshakes; open connections are closed because of the agent's table.
"""

import logging
import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import trio

from crewgate import limits
from crewgate._datapath.socket_poller import SocketPoller
from crewgate._datapath.straight_call import StraightCalls
from crewgate.config import file_descriptor_needs
from crewgate.errors import ConfigurationError
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.undecided_call import ListenerPolicy
from crewgate.gateway.routes import RouteTable
from crewgate.gateway.worker.config_snapshot import ConfigSnapshot, PreparedListener
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.runtime.descriptor_limit import raise_to
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.listening import listen, normal
from crewgate.server.auto_reset_event import AutoResetEvent
from crewgate.server.listener import Listener
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules

_log = logging.getLogger(__name__)
ListenAddress = tuple[str, int]
MakeGateway = Callable[[ListenerPolicy, RouteTable], Gateway]
MakePeerAuthorizer = Callable[[PeerRules], PeerAuthorizer]


class OpenListener(NamedTuple):
    """An open listener, its gateway and peer authorizer, and the configuration that it has now."""

    listener: Listener
    gateway: Gateway
    peer_authorizer: PeerAuthorizer | None
    prepared: PreparedListener


class Listeners:
    """The open listeners of a worker, by address. Their tasks run in `nursery`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        poller: SocketPoller,
        make_gateway: MakeGateway,
        make_authorizer: MakePeerAuthorizer,
        given: dict[ListenAddress, socket.socket] | None = None,
        metrics: ProcessMetrics | None = None,
    ) -> None:
        """`given` are sockets that the parent process keeps open, by `normal` address."""
        self._metrics = metrics
        self._nursery = nursery
        self._poller = poller
        self._make_gateway = make_gateway
        self._make_peer_authorizer = make_authorizer
        self._given = given or {}
        self._open: dict[ListenAddress, OpenListener] = {}
        self._crl_wakeup = AutoResetEvent()
        self._is_behind = True  # some TLS context may have been made with an older CRL

    def bind(self, prepared: ConfigSnapshot) -> dict[ListenAddress, socket.socket]:
        """Bind the addresses that are new.

        Raises ConfigurationError if one cannot be bound; then none of them is.
        """
        bound: dict[ListenAddress, socket.socket] = {}
        try:
            for listener in prepared.listeners:
                address = _address(listener)
                if address not in self._open:
                    where = f"{prepared.config.path}: listener {listener.section.name}"
                    given = self._given.pop(normal(*address), None)
                    bound[address] = given or listen(*address, where=where)
        except BaseException:
            for sock in bound.values():
                sock.close()
            raise
        return bound

    def adopt(self, prepared: ConfigSnapshot, bound: dict[ListenAddress, socket.socket]) -> None:
        """Serve what is prepared; `bound` is what `bind` returned for it."""
        wanted = {_address(listener) for listener in prepared.listeners}
        for address in [address for address in self._open if address not in wanted]:
            listener = self._open.pop(address).listener
            self._nursery.start_soon(listener.drain, prepared.config.drain_seconds)
        config = prepared.config
        limit = raise_to(file_descriptor_needs.worker(config).wanted)
        available = file_descriptor_needs.listener_connections(config, limit)
        connections_max = config.limits.connections_max or available
        for wanted_listener in prepared.listeners:
            address = _address(wanted_listener)
            opened = self._open.get(address)
            if opened is None:
                self._open[address] = self._serve(wanted_listener, prepared.routes, bound[address])
            else:
                self._open[address] = self._change(opened, wanted_listener, prepared.routes)
            self._open[address].listener.census.connections_max = connections_max
        for sock in self._given.values():  # of listeners that are no longer wanted
            sock.close()
        self._given.clear()
        # The contexts were made a moment ago, and a new CRL may have arrived since.
        self._is_behind = True
        self._crl_wakeup.set()

    async def drain(self, seconds: float) -> None:
        """Accept no more connections, and let requests under way end within `seconds`."""
        async with trio.open_nursery() as nursery:
            for opened in self._open.values():
                nursery.start_soon(opened.listener.drain, seconds)

    async def retire(self, seconds: float) -> None:
        """Accept no more connections; end each with its next response, or after `seconds`."""
        async with trio.open_nursery() as nursery:
            for opened in self._open.values():
                nursery.start_soon(opened.listener.retire, seconds)

    def prepared(self) -> list[PreparedListener]:
        """Return the configuration of each open listener."""
        return [opened.prepared for opened in self._open.values()]

    def connection_counts(self) -> dict[str, int]:
        """Return the number of open connections of each open listener, by its name."""
        opened = self._open.values()
        return {each.prepared.section.name: len(each.listener.census) for each in opened}

    def straight_listeners(self) -> Iterator[tuple[str, StraightCalls]]:
        """Yield the name of each open listener, and what takes its straight calls."""
        for opened in self._open.values():
            yield opened.prepared.section.name, opened.gateway.straight

    def exhausted_at(self) -> float:
        """Return when (Trio's clock) a connection last had to wait for a free descriptor."""
        times = (opened.listener.exhausted_at for opened in self._open.values())
        return max(times, default=-math.inf)

    def reload_crl_now(self) -> None:
        """Check now whether there is a new CRL."""
        self._crl_wakeup.set()

    async def follow_crl(self) -> None:
        """Load each new CRL into the TLS contexts, until cancelled.

        A CRL that cannot be loaded is tried again and again. The table refuses what was revoked on
        this machine anyway, but only the CRL has the TLS handshake tell a client why.
        """
        watch = FileWatch(())
        while True:
            with trio.move_on_after(limits.crl_look_seconds):
                await self._crl_wakeup.wait()
            if not self._is_behind and not watch.changed():
                continue
            self._is_behind = False
            # Watch the files before they are read, so that a change in between is noticed.
            watch = FileWatch(set(self._crl_paths()))
            for address, opened in list(self._open.items()):
                if opened.prepared.clients is not None:
                    await self._replace_context(address, opened)

    def _serve(
        self, prepared: PreparedListener, routes: RouteTable, sock: socket.socket
    ) -> OpenListener:
        peer_authorizer = (
            None if prepared.rules is None else self._make_peer_authorizer(prepared.rules)
        )
        gateway = self._make_gateway(_policy(prepared), routes)
        counters = ListenerCounters(prepared.section.name, self._metrics)
        listener = Listener(
            sock,
            prepared.context,
            gateway.accept,
            self._poller,
            peer_authorizer,
            counters,
            gateway.straight.taker,
        )
        self._nursery.start_soon(listener.run)
        return OpenListener(listener, gateway, peer_authorizer, prepared)

    def _change(
        self, opened: OpenListener, prepared: PreparedListener, routes: RouteTable
    ) -> OpenListener:
        listener, gateway, peer_authorizer, previous = opened
        gateway.policy, gateway.routes = _policy(prepared), routes
        listener.counters.listener = prepared.section.name
        if previous.fingerprint != prepared.fingerprint:
            listener.renew(prepared.context)
        if prepared.rules is None:
            if peer_authorizer is not None:
                peer_authorizer.change(
                    PeerRules(previous.section.name, crews=(), is_required=False)
                )
            peer_authorizer = None
        elif peer_authorizer is None:
            peer_authorizer = self._make_peer_authorizer(prepared.rules)
        else:
            peer_authorizer.change(prepared.rules)
        listener.authorizer = peer_authorizer
        return OpenListener(listener, gateway, peer_authorizer, prepared)

    def _crl_paths(self) -> Iterator[Path]:
        for opened in self._open.values():
            if opened.prepared.clients is not None:
                yield opened.prepared.clients.crl

    async def _replace_context(self, address: ListenAddress, opened: OpenListener) -> None:
        try:
            context = await trio.to_thread.run_sync(opened.prepared.make_context)
        except ConfigurationError as error:
            _log.warning("keeping the previous CRL: %s", error)
            self._is_behind = True
            return
        # After a reload in between, the listener has a newer context already.
        current = self._open.get(address)
        if current is not None and current.prepared is opened.prepared:
            opened.listener.context = context


def _address(prepared: PreparedListener) -> ListenAddress:
    return (prepared.section.address, prepared.section.port)


def _policy(prepared: PreparedListener) -> ListenerPolicy:
    section = prepared.section
    hosts = frozenset(host.lower().encode() for host in section.hosts)
    names = hosts or frozenset(host.encode() for host in prepared.hosts)
    return ListenerPolicy(
        section.name,
        section.observe,
        hosts,
        names,
        nonce_required=section.dpop_nonce == "required",
    )
