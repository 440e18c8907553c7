"""Where a request came from, as the gateway tells the tool: Via, Forwarded, X-Forwarded-*.

Address and scheme are what the socket said, the host is what the client asked for. Nothing here
depends on the single request, so the lines of a client are written once for all its calls. Decides
not whether a client's own word on these matters passes: that is gateway/headers.py.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from crewgate import limits
from crewgate._native.fields import written
from crewgate.core.http import HeaderField

PSEUDONYM = b"crewgate"  # RFC 9110 §7.6.3: a name instead of a host that nobody need know

_is_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_UNKNOWN = b"unknown"  # RFC 7239 §6.2


@lru_cache(maxsize=8)
def via(version: str) -> HeaderField:
    """Return the Via field of a message that came in HTTP `version`, such as "1.1" or "2".

    It follows those that the message has already: lines of one name are one list, in their order
    (RFC 9110 §5.3), so that a line of our own appends.
    """
    return b"via", b"%b %b" % (version.encode(), PSEUDONYM)


@lru_cache(maxsize=limits.origins_max)
def forwarded_headers(address: str, authority: bytes, version: str) -> tuple[HeaderField, ...]:
    """Return the fields that tell a tool who asked for what.

    `address` is the peer's IP address, `authority` what Request has, `version` that of its HTTP.
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
    """Return `forwarded_headers` as HTTP/1.1 writes them; those of the newest clients are kept."""
    return written(forwarded_headers(address, authority, version))


def merged_headers(fields: Sequence[HeaderField], ours: Sequence[HeaderField]) -> list[HeaderField]:
    """Return both as one list of fields, each of ours behind what the client says in it.

    For a tool that believes its clients (`HeaderRules.keeps_origin`). One line for both, because
    servers in the field (Go's Header.Get) read the first line and would miss ours.
    """
    names = {name for name, _ in ours}
    said: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if name in names and value:
            said.setdefault(name, []).append(value)
    kept = [field for field in fields if field[0] not in names]
    return kept + [(name, b", ".join([*said.get(name, ()), value])) for name, value in ours]


def _node(address: str) -> bytes:
    """The address without a zone, which means nothing elsewhere; an IPv4-mapped one is IPv4."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return _UNKNOWN
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed).encode()
