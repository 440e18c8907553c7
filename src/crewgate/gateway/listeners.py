"""The worker's open listeners: opened, changed in place, or drained as the configuration says.

A listener that stays keeps its socket and connections over a reload; only new connections see a
new certificate.
"""

import socket
from collections.abc import Callable

import trio

from crewgate.config import Listener as Section
from crewgate.gateway.case import Door
from crewgate.gateway.forward import Gateway
from crewgate.gateway.prepared import Prepared
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
        self._open: dict[Address, tuple[Listener, Gateway]] = {}

    def bind(self, prepared: Prepared) -> dict[Address, socket.socket]:
        """Bind the addresses that are new; ConfigurationError leaves none of them bound."""
        bound: dict[Address, socket.socket] = {}
        try:
            for section, _ in prepared.contexts:
                address = (section.address, section.port)
                if address not in self._open:
                    where = f"{prepared.config.path}: listener {section.name}"
                    bound[address] = listen(*address, where=where)
        except BaseException:
            for sock in bound.values():
                sock.close()
            raise
        return bound

    def adopt(self, prepared: Prepared, bound: dict[Address, socket.socket]) -> None:
        """Serve what is prepared; `bound` is what `bind` returned."""
        wanted = {(section.address, section.port) for section, _ in prepared.contexts}
        for address in [address for address in self._open if address not in wanted]:
            listener, _ = self._open.pop(address)
            self._nursery.start_soon(listener.drain, prepared.config.drain_seconds)
        for section, context in prepared.contexts:
            address = (section.address, section.port)
            if address in self._open:
                listener, gateway = self._open[address]
                listener.context = context
                gateway.door, gateway.site = _door(section), prepared.site
            else:
                gateway = self._make(_door(section), prepared.site)
                listener = Listener(bound[address], context, gateway.accept, self._poller)
                self._nursery.start_soon(listener.run)
                self._open[address] = (listener, gateway)

    async def drain(self, seconds: float) -> None:
        """Accept no more, and let what is under way end for at most `seconds`."""
        async with trio.open_nursery() as nursery:
            for listener, _ in self._open.values():
                nursery.start_soon(listener.drain, seconds)


def _door(section: Section) -> Door:
    hosts = frozenset(host.lower().encode() for host in section.hosts)
    return Door(section.name, section.observe, hosts)
