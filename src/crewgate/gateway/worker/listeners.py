"""The worker's open listeners: opened, changed in place, or drained as the configuration says.

A listener that stays keeps its socket and connections over a reload. Under a new certificate its
connections end, each when it has nothing under way. Under a new list of revoked certificates only
new handshakes differ; who is connected is expelled by the table.
"""

import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import trio

from crewgate import limits
from crewgate.config import Listener as Section
from crewgate.config import descriptors
from crewgate.errors import ConfigurationError
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.pending_call import Door
from crewgate.gateway.routes import Site
from crewgate.gateway.worker.config_snapshot import Face, Prepared
from crewgate.runtime.descriptors import raise_to
from crewgate.runtime.file_watch import Watch
from crewgate.runtime.listening import normal
from crewgate.server import Listener, Poller, listen
from crewgate.server.peer_authorizer import Doorman, Rules
from crewgate.server.wakeup import Wakeup

Address = tuple[str, int]
MakeGateway = Callable[[Door, Site], Gateway]
MakeDoorman = Callable[[Rules], Doorman]


class Opened(NamedTuple):
    """An open listener, what serves and guards it, and what it was opened or changed for."""

    listener: Listener
    gateway: Gateway
    doorman: Doorman | None
    face: Face


class Listeners:
    """What is open, by address. Its tasks live in `nursery`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        poller: Poller,
        make_gateway: MakeGateway,
        make_doorman: MakeDoorman,
        given: dict[Address, socket.socket] | None = None,
    ) -> None:
        """`given` are sockets that a parent keeps for this worker, by `normal` address."""
        self._nursery = nursery
        self._poller = poller
        self._make_gateway = make_gateway
        self._make_doorman = make_doorman
        self._given = given or {}
        self._open: dict[Address, Opened] = {}
        self._look = Wakeup()
        self._is_behind = True  # some context may have been made of an older list

    def bind(self, prepared: Prepared) -> dict[Address, socket.socket]:
        """Bind the addresses that are new; ConfigurationError leaves none of them bound."""
        bound: dict[Address, socket.socket] = {}
        try:
            for face in prepared.faces:
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

    def adopt(self, prepared: Prepared, bound: dict[Address, socket.socket]) -> None:
        """Serve what is prepared; `bound` is what `bind` returned."""
        wanted = {_address(face) for face in prepared.faces}
        for address in [address for address in self._open if address not in wanted]:
            listener = self._open.pop(address).listener
            self._nursery.start_soon(listener.drain, prepared.config.drain_seconds)
        config = prepared.config
        limit = raise_to(descriptors.worker(config).wanted)
        room = descriptors.listener_connections(config, limit)
        most = config.limits.connections_max or room
        for face in prepared.faces:
            address = _address(face)
            opened = self._open.get(address)
            if opened is None:
                self._open[address] = self._serve(face, prepared.site, bound[address])
            else:
                self._open[address] = self._change(opened, face, prepared.site)
            self._open[address].listener.census.most = most
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

    def faces(self) -> list[Face]:
        """What is open, and shown to clients."""
        return [opened.face for opened in self._open.values()]

    def exhausted_at(self) -> float:
        """When (Trio's clock) a connection last had to wait for want of a descriptor."""
        times = (opened.listener.exhausted_at for opened in self._open.values())
        return max(times, default=-math.inf)

    def look(self) -> None:
        """Look now whether there is another list of revoked certificates."""
        self._look.set()

    async def follow_lists(self, say: Callable[[str], None]) -> None:
        """Refuse by the newest list of revoked certificates; until cancelled.

        A list that could not be taken up is tried again and again: the table knows what was revoked
        here, but only the list makes a client hear why it is refused.
        """
        watch = Watch(())
        while True:
            with trio.move_on_after(limits.crl_look_seconds):
                await self._look.wait()
            if not self._is_behind and not watch.changed():
                continue
            self._is_behind = False
            watch = Watch(set(self._lists()))  # before they are read
            for address, opened in list(self._open.items()):
                if opened.face.clients is not None:
                    await self._relist(address, opened, say)

    # Inside.

    def _serve(self, face: Face, site: Site, sock: socket.socket) -> Opened:
        doorman = None if face.rules is None else self._make_doorman(face.rules)
        gateway = self._make_gateway(_door(face.section), site)
        listener = Listener(sock, face.context, gateway.accept, self._poller, doorman)
        self._nursery.start_soon(listener.run)
        return Opened(listener, gateway, doorman, face)

    def _change(self, opened: Opened, face: Face, site: Site) -> Opened:
        listener, gateway, doorman, before = opened
        gateway.door, gateway.site = _door(face.section), site
        if before.fingerprint != face.fingerprint:
            listener.renew(face.context)
        if face.rules is None:
            if doorman is not None:
                doorman.change(Rules(before.section.name, crews=(), is_required=False))
            doorman = None
        elif doorman is None:
            doorman = self._make_doorman(face.rules)
        else:
            doorman.change(face.rules)
        listener.guard = doorman
        return Opened(listener, gateway, doorman, face)

    def _lists(self) -> Iterator[Path]:
        for opened in self._open.values():
            if opened.face.clients is not None:
                yield opened.face.clients.crl

    async def _relist(self, address: Address, opened: Opened, say: Callable[[str], None]) -> None:
        """Swap the context of a listener for one that has read the newest list."""
        try:
            context = await trio.to_thread.run_sync(opened.face.make_context)
        except ConfigurationError as error:
            say(f"the list of revoked certificates before stays: {error}")
            self._is_behind = True
            return
        now = self._open.get(address)
        if now is not None and now.face is opened.face:  # else a reload came, with a newer one
            opened.listener.context = context


def _address(face: Face) -> Address:
    return (face.section.address, face.section.port)


def _door(section: Section) -> Door:
    hosts = frozenset(host.lower().encode() for host in section.hosts)
    return Door(section.name, section.observe, hosts)
