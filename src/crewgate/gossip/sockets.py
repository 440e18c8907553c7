"""Converts the addresses of members, and opens the sockets of the gossip."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address

import trio

from crewgate import limits
from crewgate.core.gossip.messages import MemberAddress
from crewgate.errors import GossipError
from crewgate.runtime.cleanup import on_error

Where = tuple[str, int]


def to_address(host: str, port: int) -> MemberAddress:
    """Return an address in the form of the protocol; `host` is an IPv4 or IPv6 address."""
    plain = ip_address(host)
    mapped = plain if isinstance(plain, IPv6Address) else IPv6Address(f"::ffff:{plain}")
    return MemberAddress(mapped.packed, port)


def own_address(host: str, port: int, listening: str) -> MemberAddress:
    """Return the address that peers use for a machine which listens at the IP address `listening`.

    `host` is an IP address, or a name that has one now. Of a name, this is the first address that
    is no loopback address: many systems give their own name one. Blocks. Raises GossipError.
    """
    with suppress(ValueError):
        return to_address(host, port)
    family = socket.AF_UNSPEC if ":" in listening else socket.AF_INET
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise GossipError(f"advertise: {host} has no address: {error}") from error
    hosts = [str(where[0]) for *_, where in found]
    for each in hosts:
        if not ip_address(each).is_loopback:
            return to_address(each, port)
    raise GossipError(
        f"advertise: {host} is {hosts[0]}, which other machines cannot reach; write an IP address"
    )


def to_where(address: MemberAddress) -> Where:
    """Return an address in the form of a socket."""
    mapped = IPv6Address(address.host)
    return str(mapped.ipv4_mapped or mapped), address.port


def format_address(where: Where) -> str:
    """Return an address as text, for the log and for commands."""
    host, port = where
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class GossipSockets:
    """The UDP socket and the listening TCP socket of one address and port.

    Raises OSError if they cannot be opened.
    """

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._is_v6 = family == socket.AF_INET6
        self.datagrams = socket.socket(family, socket.SOCK_DGRAM)
        self.streams = socket.socket(family, socket.SOCK_STREAM)
        with on_error(self.close):
            self.streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for each in (self.datagrams, self.streams):
                each.setblocking(False)  # noqa: FBT003 -- the socket module's own form
                each.bind((host, port))
            with suppress(OSError):  # the kernel may allow less
                size = limits.gossip_receive_bytes
                self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            self.streams.listen(limits.ipc_backlog)

    def close(self) -> None:
        """Close both sockets."""
        self.datagrams.close()
        self.streams.close()

    def send(self, to: MemberAddress, data: bytes) -> None:
        """Send one datagram. If it cannot leave now, it is lost, as any datagram may be."""
        host, port = to_where(to)
        if self._is_v6 and ":" not in host:
            host = f"::ffff:{host}"  # an IPv6 socket takes a mapped IPv4 address
        with suppress(OSError):
            self.datagrams.sendto(data, (host, port))

    def received(self) -> Iterable[bytes]:
        """Yield datagrams that have arrived, at most `limits.datagrams_step_max`."""
        with suppress(OSError):
            for _ in range(limits.datagrams_step_max):
                yield self.datagrams.recv(limits.gossip_datagram_bytes_max + 1)


async def resolve(host: str, port: int) -> list[Where]:
    """Return all addresses of a name; none if DNS does not answer."""
    # A name that DNS cannot encode raises UnicodeError, and `[cluster]` may have such a name.
    with trio.move_on_after(limits.gossip_hello_seconds), suppress(OSError, UnicodeError):
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list({(str(where[0]), port) for *_, where in found})
    return []
