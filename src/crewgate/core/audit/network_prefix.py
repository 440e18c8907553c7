"""The network of a peer's address, as coarse as the audit keeps it: /24 of IPv4, /48 of IPv6.

A /48 is what one site commonly gets (RFC 6177), so that one stranger is one key whatever address
in his own network he picks.
"""

from ipaddress import IPv6Address, ip_address, ip_network


def peer_network(address: str) -> str:
    """`192.0.2.0/24` or `2001:db8::/48`; `-` for a text that is no IP address (a unix socket).

    An IPv4-mapped address (RFC 4291, 2.5.5.2) is IPv4.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "-"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    prefix = 48 if isinstance(parsed, IPv6Address) else 24
    return str(ip_network((parsed, prefix), strict=False))
