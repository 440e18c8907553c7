"""Writes the headers that tell a tool where a request came from: Via, Forwarded, X-Forwarded-*.

Address and scheme are those of the client's connection; the host is the one that the client asked
for. All calls of a client get the same lines, so they are written once and cached.
gateway/headers.py decides whether a client's own forwarding headers pass.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from crewgate import limits
from crewgate._native.fields import written
from crewgate.core.http_types import HeaderField

# RFC 9110 §7.6.3: a pseudonym, which hides the name of the gateway's host.
PSEUDONYM = b"crewgate"

_is_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_UNKNOWN = b"unknown"  # RFC 7239 §6.2


@lru_cache(maxsize=8)
def via(version: str) -> HeaderField:
    """Return the Via field for a message that was received over HTTP `version`, e.g. "1.1" or "2".

    Send it after the Via lines that the message has already: lines of one name form one list, in
    their order (RFC 9110 §5.3).
    """
    return b"via", b"%b %b" % (version.encode(), PSEUDONYM)


@lru_cache(maxsize=limits.origins_max)
def forwarded_headers(address: str, authority: bytes, version: str) -> tuple[HeaderField, ...]:
    """Return the fields that tell a tool the client's address and the host that it asked for.

    `address` is the client's IP address, `authority` and `version` are those of its Request.
    """
    node = _node(address)
    host = authority if _is_token(authority) else b'"%b"' % authority
    quoted = b'"[%b]"' % node if b":" in node else node
    return (
        via(version),
        (b"forwarded", b"for=%b;host=%b;proto=https" % (quoted, host)),
        (b"x-forwarded-for", node),
        (b"x-forwarded-host", authority),
        (b"x-forwarded-proto", b"https"),
    )


@lru_cache(maxsize=limits.origins_max)
def forwarded_header_lines(address: str, authority: bytes, version: str) -> bytes:
    """Return `forwarded_headers` as HTTP/1.1 header lines, cached for recent clients."""
    return written(forwarded_headers(address, authority, version))


def merged_headers(fields: Sequence[HeaderField], ours: Sequence[HeaderField]) -> list[HeaderField]:
    """Return both lists as one; each of our values is appended to the client's line of that name.

    For tools that accept their clients' forwarding headers (`HeaderRules.keeps_origin`). Client and
    gateway share one line, because some servers (Go's Header.Get) read the first line only and
    would miss ours.
    """
    names = {name for name, _ in ours}
    sent: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if name in names and value:
            sent.setdefault(name, []).append(value)
    kept = [field for field in fields if field[0] not in names]
    return kept + [(name, b", ".join([*sent.get(name, ()), value])) for name, value in ours]


def _node(address: str) -> bytes:
    """Return the address without its zone, which has no meaning on other hosts.

    An IPv4-mapped IPv6 address is returned as IPv4.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return _UNKNOWN
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed).encode()
