"""One more connection or not: in all, and from one address; nobody is remembered who left."""

import pytest

from crewgate.server.connection_limit import ConnectionLimiter


def test_full_is_full_until_somebody_leaves() -> None:
    """The bound in all holds whoever comes, and is counted when it refuses."""
    census = ConnectionLimiter(2, 2)
    assert [census.enter(f"192.0.2.{n}") for n in range(3)] == [True, True, False]
    census.leave("192.0.2.0")
    assert census.enter("192.0.2.9")
    assert (len(census), census.counters.connections_refused_full) == (2, 1)


def test_one_address_cannot_take_every_place() -> None:
    """Its own bound refuses it, others still come in, and it may come again when it left."""
    census = ConnectionLimiter(10, 2)
    assert [census.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert census.enter("192.0.2.2")
    assert census.counters.connections_refused_address == 1
    census.leave("192.0.2.1")
    assert census.enter("192.0.2.1")


@pytest.mark.parametrize("most", [1, 2, 5, 256, 7_999, 20_000])
def test_one_address_never_takes_the_last_fifth(most: int) -> None:
    """The bound of one address shrinks with the bound of all, where descriptors are few."""
    census = ConnectionLimiter(20_000, 8_000)
    census.connections_max = most
    taken = sum(census.enter("192.0.2.1") for _ in range(most))
    assert taken == min(8_000, most - most // 5)
    assert all(census.enter(f"198.51.100.{number}") for number in range(min(200, most - taken)))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_network_of_64_bits_is_one_peer(first: str, second: str, same: bool) -> None:
    """A host picks its IPv6 address within a /64 as it likes."""
    census = ConnectionLimiter(10, 1)
    assert census.enter(first)
    assert census.enter(second) is not same


def test_nobody_is_remembered_who_left() -> None:
    """The memory of addresses is that of open connections."""
    census = ConnectionLimiter(10, 2)
    for number in range(1000):
        assert census.enter(f"192.0.2.{number}")
        census.leave(f"192.0.2.{number}")
    assert not census._by_network
    assert len(census) == 0
