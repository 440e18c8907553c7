"""A stranger is counted by his network, not by the address he picks in it."""

import pytest

from crewgate.core.audit.network_prefix import peer_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("127.0.0.1", "127.0.0.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::1", "::/48"),
        ("", "-"),
        ("/run/socket", "-"),
    ],
)
def test_vectors(address: str, network: str) -> None:
    """/24 and /48; mapped addresses are IPv4; what is no address has no network."""
    assert peer_network(address) == network
