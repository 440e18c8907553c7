"""Opens listening sockets, and keeps those of workers in the parent across worker restarts.

Every worker has its own socket on the same address (SO_REUSEPORT), and the kernel distributes
connections over them. A socket that the parent keeps outlives its worker: connections wait in it
until the next worker accepts them, and none is reset.
"""

import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address

from crewgate import limits
from crewgate.errors import ConfigurationError

ListenAddress = tuple[str, int]


def listen(address: str, port: int, *, where: str = "listener") -> socket.socket:
    """Return a bound, listening, non-blocking socket; raise ConfigurationError if it fails."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted connections inherit this.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
    """Return why an exclusive socket cannot be bound there; None if it can.

    With SO_REUSEPORT, the kernel lets two gateways of one user share a port, as it does two workers
    of one gateway. Each gateway would then get calls with the other one's tokens.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            # Lingering connections of an earlier gateway must not block the port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
    except OSError as error:
        return error
    return None


def adopt(descriptors: Iterable[int]) -> dict[ListenAddress, socket.socket]:
    """Return the sockets that the parent passed as descriptors, by normalized address."""
    found = {}
    for descriptor in descriptors:
        sock = socket.socket(fileno=descriptor)
        sock.settimeout(0)
        found[normal(*sock.getsockname()[:2])] = sock
    return found


def normal(address: str, port: int) -> ListenAddress:
    """Return an address in its shortest text form, which is the same for equal addresses."""
    return str(ip_address(address)), port


class KeptSockets:
    """The parent's copies of the workers' listening sockets, by worker and address.

    At the addresses of `shared`, all workers accept from the one socket that a service manager
    opened. It stays open: the service manager has another copy, in which clients would wait.
    """

    def __init__(self, shared: Mapping[ListenAddress, socket.socket] | None = None) -> None:
        self._shared = dict(shared or {})
        self._kept: dict[int, dict[ListenAddress, socket.socket]] = {}

    def addresses(self, worker: int) -> set[ListenAddress]:
        """Return the addresses of a worker's sockets."""
        return set(self._kept.get(worker, {}))

    def fit(self, worker: int, addresses: Iterable[ListenAddress]) -> list[int]:
        """Keep a worker's sockets at exactly these addresses; return descriptors for its process.

        A socket that cannot be bound here is left out: the worker tries again and reports why it
        fails. The worker must accept from all these sockets: clients wait in each open one.
        """
        wanted = {normal(*address) for address in addresses}
        self.keep(worker, wanted)
        kept = self._kept.setdefault(worker, {})
        for address in sorted(wanted - kept.keys() - self._shared.keys()):
            with suppress(ConfigurationError):
                kept[address] = listen(*address)
        shared = [sock for address, sock in self._shared.items() if address in wanted]
        return [sock.fileno() for sock in (*kept.values(), *shared)]

    def keep(self, worker: int, addresses: Iterable[ListenAddress]) -> None:
        """Close a worker's sockets at all other addresses, where it would not accept."""
        wanted = {normal(*address) for address in addresses}
        kept = self._kept.get(worker, {})
        for address in kept.keys() - wanted:
            kept.pop(address).close()

    def drop(self, worker: int) -> None:
        """Close all sockets of a worker that will not start again soon."""
        for sock in self._kept.pop(worker, {}).values():
            sock.close()

    def close(self) -> None:
        """Close the sockets of every worker, but not the shared ones."""
        for worker in list(self._kept):
            self.drop(worker)
