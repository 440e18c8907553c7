"""Reduces a client's address to the network that the audit log keeps: /24 of IPv4, /48 of IPv6.

A site commonly gets a /48 (RFC 6177), so a client counts as one, whichever address of its network
it uses.
"""

from ipaddress import IPv6Address, ip_address, ip_network


def peer_network(address: str) -> str:
    """Return `192.0.2.0/24` or `2001:db8::/48`; `-` if the text is not an IP address.

    A unix socket has no IP address. An IPv4-mapped address (RFC 4291, 2.5.5.2) counts as IPv4.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "-"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    prefix = 48 if isinstance(parsed, IPv6Address) else 24
    return str(ip_network((parsed, prefix), strict=False))
