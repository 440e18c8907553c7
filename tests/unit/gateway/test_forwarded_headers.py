"""What a tool hears of where a request came from."""

import pytest

from crewgate import limits
from crewgate.gateway.forwarded_headers import (
    forwarded_header_lines,
    forwarded_headers,
    merged_headers,
    via,
)


def test_fields() -> None:
    """Address and scheme are the socket's, the host is what was asked for."""
    assert forwarded_headers("192.0.2.7", b"gateway.example", "1.1") == (
        (b"via", b"1.1 crewgate"),
        (b"forwarded", b"for=192.0.2.7;host=gateway.example;proto=https"),
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"x-forwarded-host", b"gateway.example"),
        (b"x-forwarded-proto", b"https"),
    )


@pytest.mark.parametrize(
    ("address", "plain", "node"),
    [
        ("192.0.2.7", b"192.0.2.7", b"192.0.2.7"),
        ("::ffff:192.0.2.7", b"192.0.2.7", b"192.0.2.7"),
        ("2001:DB8:0::7", b"2001:db8::7", b'"[2001:db8::7]"'),
        ("fe80::1%eth0", b"fe80::1", b'"[fe80::1]"'),
        ("", b"unknown", b"unknown"),
        ("/run/a.sock", b"unknown", b"unknown"),
    ],
)
def test_address(address: str, plain: bytes, node: bytes) -> None:
    """An address has one spelling; Forwarded wants brackets and quotes about a colon (RFC 7239)."""
    fields = dict(forwarded_headers(address, b"a", "2"))
    assert fields[b"x-forwarded-for"] == plain
    assert fields[b"forwarded"] == b"for=%b;host=a;proto=https" % node


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"gateway.example:8443", b'"gateway.example:8443"'),
        (b"[::1]:8443", b'"[::1]:8443"'),
        (b"a_b~c", b"a_b~c"),
    ],
)
def test_host(authority: bytes, host: bytes) -> None:
    """What is no token is quoted in Forwarded, and nowhere else."""
    fields = dict(forwarded_headers("::1", authority, "2"))
    assert fields[b"forwarded"] == b'for="[::1]";host=%b;proto=https' % host
    assert fields[b"x-forwarded-host"] == authority


def test_lines_are_kept_and_bounded() -> None:
    """A client's lines are written once; strangers cannot make the gateway keep any number."""
    lines = forwarded_header_lines("192.0.2.7", b"a", "2")
    assert lines.startswith(b"via: 2 crewgate\r\nforwarded: for=192.0.2.7;")
    assert lines.endswith(b"x-forwarded-proto: https\r\n")
    assert forwarded_header_lines("192.0.2.7", b"a", "2") is lines
    for number in range(limits.origins_max + 1):
        forwarded_header_lines("192.0.2.7", b"host-%d" % number, "2")
    assert forwarded_header_lines.cache_info().currsize == limits.origins_max


def test_via() -> None:
    """A message says in which version it came to the gateway."""
    assert via("1.0") == (b"via", b"1.0 crewgate")


def test_joined() -> None:
    """Ours goes last in one line; what is not ours is left alone, in its order."""
    client = [
        (b"x-forwarded-for", b"198.51.100.1"),
        (b"accept", b"*/*"),
        (b"x-forwarded-for", b"198.51.100.2, 198.51.100.3"),
        (b"via", b"1.1 egress"),
        (b"x-forwarded-host", b""),
        (b"x-real-ip", b"198.51.100.1"),
    ]
    assert merged_headers(client, forwarded_headers("192.0.2.7", b"a", "2")) == [
        (b"accept", b"*/*"),
        (b"x-real-ip", b"198.51.100.1"),
        (b"via", b"1.1 egress, 2 crewgate"),
        (b"forwarded", b"for=192.0.2.7;host=a;proto=https"),
        (b"x-forwarded-for", b"198.51.100.1, 198.51.100.2, 198.51.100.3, 192.0.2.7"),
        (b"x-forwarded-host", b"a"),
        (b"x-forwarded-proto", b"https"),
    ]
