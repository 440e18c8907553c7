"""The slow model of `_native/request_head`: which heads become requests, and of what content."""

import re

from crewgate import limits
from crewgate.core.http_types import HeaderField
from crewgate.errors import InvalidRequestError
from crewgate.server.request import Request

_is_method = re.compile(rb"[!#$%%&'*+.^_`|~0-9A-Za-z-]{1,%d}" % limits.method_bytes_max).fullmatch
_is_target = re.compile(rb"[!\"$-~]+").fullmatch
_is_authority = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?").fullmatch
_UNSUPPORTED = frozenset({b"CONNECT", b"TRACE"})
_is_length = re.compile(rb"[0-9]{1,18}").fullmatch


def read(fields: list[HeaderField], stream: int, streamed: bool) -> Request:
    """Make a request of a stream's first fields."""
    pseudo = {name: value for name, value in fields if name[:1] == b":"}
    method = pseudo.get(b":method", b"")
    if method == b"CONNECT":
        raise InvalidRequestError(501, "CONNECT is not supported")
    if pseudo.get(b":scheme") != b"https":
        raise InvalidRequestError(400, "the scheme is not https")
    return build(
        method,
        pseudo.get(b":path", b""),
        pseudo.get(b":authority"),
        [field for field in fields if field[0][:1] != b":"],
        version="2",
        stream=stream,
        streamed=streamed,
    )


def build(
    method: bytes,
    target: bytes,
    authority: bytes | None,
    fields: list[HeaderField],
    *,
    version: str,
    stream: int,
    streamed: bool,
) -> Request:
    """Check a head and make a `Request` of it.

    `authority` is what the request line named, if it did; `streamed` says that a body may follow
    whose size was not declared. InvalidRequestError with 400, 413 or 501.
    """
    if not _is_method(method) or not _is_target(target):
        raise InvalidRequestError(400, "the request line holds bytes that it must not hold")
    if method in _UNSUPPORTED:
        raise InvalidRequestError(501, f"{method.decode()} is not supported")
    # RFC 9112 §3.2, RFC 9113 §8.3.1: a proxy's form with another scheme than ours is not for us.
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise InvalidRequestError(400, "the request's target is no path")
    headers, hosts, length = _sort(fields)
    if length is None and not streamed:
        length = 0
    path, _, query = target.partition(b"?")
    return Request(
        method, target, path, query, _authority(authority, hosts), headers, version, stream, length
    )


def _sort(fields: list[HeaderField]) -> tuple[list[HeaderField], list[bytes], int | None]:
    """(fields without Host, values of Host, Content-Length)."""
    headers: list[HeaderField] = []
    hosts: list[bytes] = []
    length = None
    for field in fields:
        name, value = field
        if name == b"host":
            hosts.append(value)
            continue
        if name == b"content-length":
            if length is not None or not _is_length(value):
                raise InvalidRequestError(400, "Content-Length is not one number")
            length = int(value)
            if length > limits.tool_body_bytes_max:
                raise InvalidRequestError(413, "the body is too large")
        headers.append(field)
    return headers, hosts, length


def _authority(named: bytes | None, hosts: list[bytes]) -> bytes:
    """The one authority that request line and Host agree on (RFC 9112 §3.2, RFC 9113 §8.3.1)."""
    if len(hosts) > 1:
        raise InvalidRequestError(400, "more than one Host")
    host = hosts[0] if hosts else None
    authority = host if named is None else named
    long = authority is not None and len(authority) > limits.authority_bytes_max
    if authority is None or long or not _is_authority(authority):
        raise InvalidRequestError(400, "no usable Host or :authority")
    if host is not None and host.lower() != authority.lower():
        raise InvalidRequestError(400, "Host differs from the request's authority")
    return authority
