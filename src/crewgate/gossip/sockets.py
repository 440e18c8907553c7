"""Where members are, and the sockets that reach them."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address

import trio

from crewgate import limits
from crewgate.core.gossip.messages import MemberAddress

Where = tuple[str, int]


def to_address(host: str, port: int) -> MemberAddress:
    """As members tell one another of it."""
    given = ip_address(host)
    mapped = given if isinstance(given, IPv6Address) else IPv6Address(f"::ffff:{given}")
    return MemberAddress(mapped.packed, port)


def to_where(address: MemberAddress) -> Where:
    """As a socket wants it."""
    given = IPv6Address(address.host)
    return str(given.ipv4_mapped or given), address.port


def format_address(where: Where) -> str:
    """For people."""
    host, port = where
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class GossipSockets:
    """The two sockets of one address and port; OSError if they cannot be had."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._is_v6 = family == socket.AF_INET6
        self.datagrams = socket.socket(family, socket.SOCK_DGRAM)
        self.streams = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for each in (self.datagrams, self.streams):
                each.setblocking(False)  # noqa: FBT003 -- the socket module's own form
                each.bind((host, port))
            with suppress(OSError):  # as much as the kernel allows
                size = limits.gossip_receive_bytes
                self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            self.streams.listen(limits.link_backlog)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Let them go."""
        self.datagrams.close()
        self.streams.close()

    def send(self, to: MemberAddress, data: bytes) -> None:
        """One datagram; what cannot leave now is lost, as datagrams are."""
        host, port = to_where(to)
        if self._is_v6 and ":" not in host:
            host = f"::ffff:{host}"  # which is what a socket for both calls it
        with suppress(OSError):
            self.datagrams.sendto(data, (host, port))

    def received(self) -> Iterable[bytes]:
        """The datagrams that have come, so many at a time."""
        with suppress(OSError):
            for _ in range(limits.datagrams_step_max):
                yield self.datagrams.recv(limits.gossip_datagram_bytes_max + 1)


async def resolve(host: str, port: int) -> list[Where]:
    """All addresses of a name; none where there is no answer."""
    # A name that cannot be written for DNS is a UnicodeError, though `[cluster]` may have it.
    with trio.move_on_after(limits.gossip_hello_seconds), suppress(OSError, UnicodeError):
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list({(str(where[0]), port) for *_, where in found})
    return []
