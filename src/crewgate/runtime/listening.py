"""Listening sockets: bound for one process, or kept by a parent for the children that come and go.

Every worker has a socket of its own on the same address (SO_REUSEPORT), and the kernel spreads
connections over them. A socket that a parent keeps outlives its worker: connections wait in it
until the next worker accepts, and none is reset.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

from crewgate import limits
from crewgate.errors import ConfigurationError

ListenAddress = tuple[str, int]


def listen(address: str, port: int, *, where: str = "listener") -> socket.socket:
    """Return a bound, listening, non-blocking socket. ConfigurationError if that is impossible."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
        sock.bind((address, port))
        sock.listen(limits.backlog)
    except OSError as error:
        sock.close()
        raise ConfigurationError(
            f"{where}: cannot listen on {address} port {port}: {error.strerror}; "
            "give an address of this machine and a port that is free"
        ) from error
    sock.settimeout(0)
    return sock


def taken(address: str, port: int) -> OSError | None:
    """Return the error of a socket that is bound there and shares its port; None if there is none.

    The kernel lets two gateways of one user share a port, as it does two workers of one gateway.
    Each gateway would then get calls with the other one's tokens.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            # Connections of an earlier gateway that still linger are no obstacle.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
    except OSError as error:
        return error
    return None


def adopt(descriptors: Iterable[int]) -> dict[ListenAddress, socket.socket]:
    """Sockets that a parent has handed over, by their address in its shortest form."""
    found = {}
    for descriptor in descriptors:
        sock = socket.socket(fileno=descriptor)
        sock.settimeout(0)
        found[normal(*sock.getsockname()[:2])] = sock
    return found


def normal(address: str, port: int) -> ListenAddress:
    """The same address is always the same text."""
    return str(ip_address(address)), port


class KeptSockets:
    """The listening sockets of the workers, by worker and address; the parent's copies."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[ListenAddress, socket.socket]] = {}

    def addresses(self, worker: int) -> set[ListenAddress]:
        """Where a worker's sockets are."""
        return set(self._kept.get(worker, {}))

    def fit(self, worker: int, addresses: Iterable[ListenAddress]) -> list[int]:
        """Have a worker's sockets at these addresses alone; their descriptors, for its process.

        The process binds what cannot be bound here, and says why that fails. It has to accept from
        all these sockets: as long as they are open, clients wait in them.
        """
        wanted = {normal(*address) for address in addresses}
        self.keep(worker, wanted)
        kept = self._kept.setdefault(worker, {})
        for address in sorted(wanted - kept.keys()):
            with suppress(ConfigurationError):
                kept[address] = listen(*address)
        return [sock.fileno() for sock in kept.values()]

    def keep(self, worker: int, addresses: Iterable[ListenAddress]) -> None:
        """Close a worker's sockets at other addresses, where it would accept no connection."""
        wanted = {normal(*address) for address in addresses}
        kept = self._kept.get(worker, {})
        for address in kept.keys() - wanted:
            kept.pop(address).close()

    def drop(self, worker: int) -> None:
        """Close all of a worker's: it is not coming back soon."""
        for sock in self._kept.pop(worker, {}).values():
            sock.close()

    def close(self) -> None:
        """Close all."""
        for worker in list(self._kept):
            self.drop(worker)
