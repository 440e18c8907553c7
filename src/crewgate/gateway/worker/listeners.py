"""The worker's open listeners: opened, changed in place, or drained as the configuration says.

A listener that stays keeps its socket and connections over a reload. Under a new certificate its
connections end, each when it has nothing under way. Under a new list of revoked certificates only
new handshakes differ; who is connected is expelled by the table.
"""

import logging
import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import trio

from crewgate import limits
from crewgate.config import ListenerConfig as Section
from crewgate.config import descriptors
from crewgate.errors import ConfigurationError
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.pending_call import ListenerPolicy
from crewgate.gateway.routes import RouteTable
from crewgate.gateway.worker.config_snapshot import ConfigSnapshot, PreparedListener
from crewgate.runtime.descriptors import raise_to
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.listening import normal
from crewgate.server import Listener, Poller, listen
from crewgate.server.peer_authorizer import PeerAuthorizer, PeerRules
from crewgate.server.wakeup import WakeupEvent

_log = logging.getLogger(__name__)
ListenAddress = tuple[str, int]
MakeGateway = Callable[[ListenerPolicy, RouteTable], Gateway]
MakePeerAuthorizer = Callable[[PeerRules], PeerAuthorizer]


class OpenListener(NamedTuple):
    """An open listener, what serves and guards it, and what it was opened or changed for."""

    listener: Listener
    gateway: Gateway
    peer_authorizer: PeerAuthorizer | None
    prepared: PreparedListener


class Listeners:
    """What is open, by address. Its tasks live in `nursery`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        poller: Poller,
        make_gateway: MakeGateway,
        make_authorizer: MakePeerAuthorizer,
        given: dict[ListenAddress, socket.socket] | None = None,
    ) -> None:
        """`given` are sockets that a parent keeps for this worker, by `normal` address."""
        self._nursery = nursery
        self._poller = poller
        self._make_gateway = make_gateway
        self._make_peer_authorizer = make_authorizer
        self._given = given or {}
        self._open: dict[ListenAddress, OpenListener] = {}
        self._look = WakeupEvent()
        self._is_behind = True  # some context may have been made of an older list

    def bind(self, prepared: ConfigSnapshot) -> dict[ListenAddress, socket.socket]:
        """Bind the addresses that are new; ConfigurationError leaves none of them bound."""
        bound: dict[ListenAddress, socket.socket] = {}
        try:
            for face in prepared.listeners:
                address = _address(face)
                if address not in self._open:
                    where = f"{prepared.config.path}: listener {face.section.name}"
                    given = self._given.pop(normal(*address), None)
                    bound[address] = given or listen(*address, where=where)
        except BaseException:
            for sock in bound.values():
                sock.close()
            raise
        return bound

    def adopt(self, prepared: ConfigSnapshot, bound: dict[ListenAddress, socket.socket]) -> None:
        """Serve what is prepared; `bound` is what `bind` returned."""
        wanted = {_address(face) for face in prepared.listeners}
        for address in [address for address in self._open if address not in wanted]:
            listener = self._open.pop(address).listener
            self._nursery.start_soon(listener.drain, prepared.config.drain_seconds)
        config = prepared.config
        limit = raise_to(descriptors.worker(config).wanted)
        room = descriptors.listener_connections(config, limit)
        most = config.limits.connections_max or room
        for face in prepared.listeners:
            address = _address(face)
            opened = self._open.get(address)
            if opened is None:
                self._open[address] = self._serve(face, prepared.routes, bound[address])
            else:
                self._open[address] = self._change(opened, face, prepared.routes)
            self._open[address].listener.census.connections_max = most
        for sock in self._given.values():  # of listeners that are no longer wanted
            sock.close()
        self._given.clear()
        # The contexts were made a while ago, and a list may have come since.
        self._is_behind = True
        self._look.set()

    async def drain(self, seconds: float) -> None:
        """Accept no more, and let what is under way end for at most `seconds`."""
        async with trio.open_nursery() as nursery:
            for opened in self._open.values():
                nursery.start_soon(opened.listener.drain, seconds)

    async def retire(self, seconds: float) -> None:
        """Accept no more, and let every connection end with its next answer, or in `seconds`."""
        async with trio.open_nursery() as nursery:
            for opened in self._open.values():
                nursery.start_soon(opened.listener.retire, seconds)

    def prepared(self) -> list[PreparedListener]:
        """What is open, and shown to clients."""
        return [opened.prepared for opened in self._open.values()]

    def exhausted_at(self) -> float:
        """When (Trio's clock) a connection last had to wait for want of a descriptor."""
        times = (opened.listener.exhausted_at for opened in self._open.values())
        return max(times, default=-math.inf)

    def reload_crl_now(self) -> None:
        """Look now whether there is another list of revoked certificates."""
        self._look.set()

    async def follow_crl(self) -> None:
        """Refuse by the newest list of revoked certificates; until cancelled.

        A list that could not be taken up is tried again and again: the table knows what was revoked
        here, but only the list makes a client hear why it is refused.
        """
        watch = FileWatch(())
        while True:
            with trio.move_on_after(limits.crl_look_seconds):
                await self._look.wait()
            if not self._is_behind and not watch.changed():
                continue
            self._is_behind = False
            watch = FileWatch(set(self._lists()))  # before they are read
            for address, opened in list(self._open.items()):
                if opened.prepared.clients is not None:
                    await self._relist(address, opened)

    def _serve(
        self, prepared: PreparedListener, routes: RouteTable, sock: socket.socket
    ) -> OpenListener:
        peer_authorizer = (
            None if prepared.rules is None else self._make_peer_authorizer(prepared.rules)
        )
        gateway = self._make_gateway(_policy(prepared.section), routes)
        listener = Listener(sock, prepared.context, gateway.accept, self._poller, peer_authorizer)
        self._nursery.start_soon(listener.run)
        return OpenListener(listener, gateway, peer_authorizer, prepared)

    def _change(
        self, opened: OpenListener, prepared: PreparedListener, routes: RouteTable
    ) -> OpenListener:
        listener, gateway, peer_authorizer, before = opened
        gateway.policy, gateway.routes = _policy(prepared.section), routes
        if before.fingerprint != prepared.fingerprint:
            listener.renew(prepared.context)
        if prepared.rules is None:
            if peer_authorizer is not None:
                peer_authorizer.change(PeerRules(before.section.name, crews=(), is_required=False))
            peer_authorizer = None
        elif peer_authorizer is None:
            peer_authorizer = self._make_peer_authorizer(prepared.rules)
        else:
            peer_authorizer.change(prepared.rules)
        listener.authorizer = peer_authorizer
        return OpenListener(listener, gateway, peer_authorizer, prepared)

    def _lists(self) -> Iterator[Path]:
        for opened in self._open.values():
            if opened.prepared.clients is not None:
                yield opened.prepared.clients.crl

    async def _relist(self, address: ListenAddress, opened: OpenListener) -> None:
        """Swap the context of a listener for one that has read the newest list."""
        try:
            context = await trio.to_thread.run_sync(opened.prepared.make_context)
        except ConfigurationError as error:
            _log.warning("the list of revoked certificates before stays: %s", error)
            self._is_behind = True
            return
        now = self._open.get(address)
        if (
            now is not None and now.prepared is opened.prepared
        ):  # else a reload came, with a newer one
            opened.listener.context = context


def _address(prepared: PreparedListener) -> ListenAddress:
    return (prepared.section.address, prepared.section.port)


def _policy(section: Section) -> ListenerPolicy:
    hosts = frozenset(host.lower().encode() for host in section.hosts)
    return ListenerPolicy(section.name, section.observe, hosts)
