"""Addresses as members tell them, and the sockets behind them; on loopback."""

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
import trio
from gossip_members import HOST, free_sockets
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.gossip.messages import MemberAddress
from crewgate.errors import GossipError
from crewgate.gossip import sockets as sockets_
from crewgate.gossip.sockets import GossipSockets, own_address, resolve, to_address, to_where

PORTS = st.integers(1, 2**16 - 1)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), PORTS)
def test_an_address_comes_back(host: IPv4Address | IPv6Address, port: int) -> None:
    """As it was, but that an IPv4 address in IPv6's form is one."""
    address = to_address(str(host), port)
    assert len(address.host) == 16
    mapped = host.ipv4_mapped if isinstance(host, IPv6Address) else None
    assert to_where(address) == (str(mapped or host).partition("%")[0], port)


async def test_what_is_sent_is_received() -> None:
    """And what is longer than a datagram shows that it is."""
    one, other = free_sockets(), free_sockets()
    there = to_address(HOST, other.datagrams.getsockname()[1])
    one.send(there, b"hello")
    one.send(there, bytes(3000))
    one.send(there, b"")
    got = list[bytes]()
    while len(got) < 3:
        await trio.lowlevel.wait_readable(other.datagrams)
        got += other.received()
    assert got == [b"hello", bytes(limits.gossip_datagram_bytes_max + 1), b""]
    assert list(other.received()) == []
    one.close()
    other.close()


@given(st.builds(MemberAddress, st.binary(min_size=16, max_size=16), st.integers(0, 2**16 - 1)))
def test_what_cannot_be_sent_is_lost(address: MemberAddress) -> None:
    """Whatever address there is, nothing is raised; nor by sockets that are closed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        made = object.__new__(GossipSockets)
        made.datagrams, made._is_v6 = datagrams, False
        datagrams.close()
        made.send(address, b"hello")


def test_a_storm_is_read_in_steps() -> None:
    """Others have their turn."""
    one, other = free_sockets(), free_sockets()
    there = to_address(HOST, other.datagrams.getsockname()[1])
    for _ in range(limits.datagrams_step_max + 10):
        one.send(there, b"x")
    assert len(list(other.received())) == limits.datagrams_step_max
    assert len(list(other.received())) == 10
    one.close()
    other.close()


def test_a_port_that_is_taken_leaves_nothing_open() -> None:
    """OSError, and both are closed."""
    taken = free_sockets()
    port = taken.streams.getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        GossipSockets(HOST, port)
    taken.close()
    GossipSockets(HOST, port).close()


def test_a_socket_of_both_families_reaches_both() -> None:
    """Where it listens at all addresses, members of IPv4 are among the others."""
    try:
        both = GossipSockets("::", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    other = free_sockets()
    both.send(to_address(HOST, other.datagrams.getsockname()[1]), b"hello")
    other.datagrams.setblocking(True)
    assert other.datagrams.recv(9) == b"hello"
    both.close()
    other.close()


async def test_names_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """To each address once; to none where there is no answer, in time, or no name."""

    async def several(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", (host, 1)) for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]

    assert await resolve(HOST, 7) == [(HOST, 7)]
    assert await resolve("a" * 80 + ".test", 7) == []
    assert await resolve("..", 7) == []
    monkeypatch.setattr(trio.socket, "getaddrinfo", several)
    assert sorted(await resolve("name", 7)) == [("192.0.2.1", 7), ("192.0.2.2", 7)]


async def test_a_name_that_nobody_answers_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Bounded."""

    async def never(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio.socket, "getaddrinfo", never)
    assert await resolve("name", 7) == []
    assert trio.current_time() == pytest.approx(limits.gossip_hello_seconds)


def test_every_address_is_told_in_one_form() -> None:
    """IPv4 as mapped."""
    assert to_address("192.0.2.1", 8446).host == bytes(10) + b"\xff\xff\xc0\x00\x02\x01"
    assert sockets_.to_where(to_address("::1", 1)) == ("::1", 1)


def test_a_name_is_told_as_an_address_that_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that is no loopback address; a name without one is an error with its reason."""
    found = {"gw": ["127.0.1.1", "10.0.0.9", "10.0.0.8"], "self": ["127.0.1.1"]}

    def look_up(host: str, port: int, *_: object) -> list[tuple[object, ...]]:
        if host not in found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (each, port)) for each in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert to_where(own_address("gw", 8446, "0.0.0.0")) == ("10.0.0.9", 8446)
    assert to_where(own_address("127.0.0.1", 8446, "127.0.0.1")) == ("127.0.0.1", 8446)
    with pytest.raises(GossipError, match=r"self is 127\.0\.1\.1, which other machines cannot"):
        own_address("self", 8446, "0.0.0.0")
    with pytest.raises(GossipError, match=r"advertise: gone has no address: .*not known"):
        own_address("gone", 8446, "0.0.0.0")
