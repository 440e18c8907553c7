"""What a request is, whatever protocol carried it, and which ones are refused as malformed.

Refuses what two parsers could read in two ways: bytes outside ASCII in the request line, a Host
that is not the authority, CONNECT, TRACE. Knows no path rules, tools or tokens.
"""

import re

import msgspec

from crewgate import limits
from crewgate.errors import RequestRefusedError

Field = tuple[bytes, bytes]

# A token, RFC 9110 §5.6.2.
_is_method = re.compile(rb"[!#$%%&'*+.^_`|~0-9A-Za-z-]{1,%d}" % limits.method_bytes_max).fullmatch
_is_target = re.compile(rb"[!\"$-~]+").fullmatch  # visible ASCII without the fragment's "#"
_is_authority = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?").fullmatch
# CONNECT would make a tunnel; TRACE would show a client what the gateway adds (RFC 9110 §9.3.8).
_UNSUPPORTED = frozenset({b"CONNECT", b"TRACE"})
_is_length = re.compile(rb"[0-9]{1,18}").fullmatch


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end of a connection.

    `address` is the IP address; `certificate` the DER bytes that the handshake proved, if any.
    """

    address: str
    port: int = 0
    certificate: bytes | None = None


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request's head. Field names are lower-case; `host` is gone, `authority` has it.

    `target` is in origin form, `path` and `query` are its parts without the first `?`. `length`
    is the declared size of the body in bytes, None for a body of unknown size, 0 for none.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    authority: bytes
    headers: list[Field]
    version: str
    stream: int
    length: int | None

    def __repr__(self) -> str:
        """Without fields and query, which may hold a token."""
        return f"<Request {self.method!r} {self.path!r}>"


def build(
    method: bytes,
    target: bytes,
    authority: bytes | None,
    fields: list[Field],
    *,
    version: str,
    stream: int,
    streamed: bool,
) -> Request:
    """Check a head and make a `Request` of it.

    `authority` is what the request line named, if it did; `streamed` says that a body may follow
    whose size was not declared. RequestRefusedError with 400, 413 or 501.
    """
    if not _is_method(method) or not _is_target(target):
        raise RequestRefusedError(400, "the request line holds bytes that it must not hold")
    if method in _UNSUPPORTED:
        raise RequestRefusedError(501, f"{method.decode()} is not supported")
    headers, hosts, length = _sort(fields)
    if length is None and not streamed:
        length = 0
    path, _, query = target.partition(b"?")
    return Request(
        method, target, path, query, _authority(authority, hosts), headers, version, stream, length
    )


def _sort(fields: list[Field]) -> tuple[list[Field], list[bytes], int | None]:
    """(fields without Host, values of Host, Content-Length)."""
    headers: list[Field] = []
    hosts: list[bytes] = []
    length = None
    for field in fields:
        name, value = field
        if name == b"host":
            hosts.append(value)
            continue
        if name == b"content-length":
            if length is not None or not _is_length(value):
                raise RequestRefusedError(400, "Content-Length is not one number")
            length = int(value)
            if length > limits.request_body_bytes_max:
                raise RequestRefusedError(413, "the body is too large")
        headers.append(field)
    return headers, hosts, length


def _authority(named: bytes | None, hosts: list[bytes]) -> bytes:
    """The one authority that request line and Host agree on (RFC 9112 §3.2, RFC 9113 §8.3.1)."""
    if len(hosts) > 1:
        raise RequestRefusedError(400, "more than one Host")
    host = hosts[0] if hosts else None
    authority = host if named is None else named
    if authority is None or not _is_authority(authority):
        raise RequestRefusedError(400, "no usable Host or :authority")
    if host is not None and host.lower() != authority.lower():
        raise RequestRefusedError(400, "Host differs from the request's authority")
    return authority
