"""The worker's open listeners: opened, changed in place, or drained as the configuration says.

A listener that stays keeps its socket and connections over a reload. Under a new certificate its
connections end, each when it has nothing under way.
"""

import socket
from collections.abc import Callable

import trio

from crewgate.config import Listener as Section
from crewgate.gateway.case import Door
from crewgate.gateway.forward import Gateway
from crewgate.gateway.prepared import Face, Prepared
from crewgate.gateway.site import Site
from crewgate.server import Listener, Poller, listen

Address = tuple[str, int]
MakeGateway = Callable[[Door, Site], Gateway]


class Listeners:
    """What is open, by address. Its tasks live in `nursery`."""

    def __init__(self, nursery: trio.Nursery, make: MakeGateway, poller: Poller) -> None:
        self._nursery = nursery
        self._poller = poller
        self._make = make
        self._open: dict[Address, tuple[Listener, Gateway, bytes]] = {}  # with what is shown

    def bind(self, prepared: Prepared) -> dict[Address, socket.socket]:
        """Bind the addresses that are new; ConfigurationError leaves none of them bound."""
        bound: dict[Address, socket.socket] = {}
        try:
            for face in prepared.faces:
                address = _address(face)
                if address not in self._open:
                    where = f"{prepared.config.path}: listener {face.section.name}"
                    bound[address] = listen(*address, where=where)
        except BaseException:
            for sock in bound.values():
                sock.close()
            raise
        return bound

    def adopt(self, prepared: Prepared, bound: dict[Address, socket.socket]) -> None:
        """Serve what is prepared; `bound` is what `bind` returned."""
        wanted = {_address(face) for face in prepared.faces}
        for address in [address for address in self._open if address not in wanted]:
            listener, _, _ = self._open.pop(address)
            self._nursery.start_soon(listener.drain, prepared.config.drain_seconds)
        for face in prepared.faces:
            address, door = _address(face), _door(face.section)
            if address in self._open:
                listener, gateway, shown = self._open[address]
                if shown != face.fingerprint:
                    listener.renew(face.context)
                gateway.door, gateway.site = door, prepared.site
            else:
                gateway = self._make(door, prepared.site)
                context, poller = face.context, self._poller
                listener = Listener(bound[address], context, gateway.accept, poller)
                self._nursery.start_soon(listener.run)
            self._open[address] = (listener, gateway, face.fingerprint)

    async def drain(self, seconds: float) -> None:
        """Accept no more, and let what is under way end for at most `seconds`."""
        async with trio.open_nursery() as nursery:
            for listener, _, _ in self._open.values():
                nursery.start_soon(listener.drain, seconds)


def _address(face: Face) -> Address:
    return (face.section.address, face.section.port)


def _door(section: Section) -> Door:
    hosts = frozenset(host.lower().encode() for host in section.hosts)
    return Door(section.name, section.observe, hosts)
