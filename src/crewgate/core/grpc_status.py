"""Writes a refusal for gRPC clients: a status, a message and details, as header fields.

A gRPC client reads neither the HTTP status nor the body (gRPC over HTTP/2, "Responses"), so a
refusal is a response of trailers only: HTTP 200 and these fields. The details are a
`google.rpc.Status`. In it, an `ErrorInfo` has the members of the problem document (AIP-193), and a
`RetryInfo` says when to retry. These few messages need no protobuf library (protobuf.dev,
"Encoding").
"""

import base64
import enum
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from crewgate.core.http_types import HeaderField

DOMAIN = "crewgate.dev"
_TYPES = "type.googleapis.com/google.rpc."
_FORM = re.compile(rb"application/grpc(?:-web(?:-text)?)?(?=[+; \t]|\Z)", re.IGNORECASE)
# gRPC over HTTP/2, "Percent-Encoded": visible ASCII and the blank, except "%".
_SAFE = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"
# The bit of a varint that says that another group of seven bits follows.
_MORE = 0x80


class Code(enum.IntEnum):
    """The status codes that a refusal may have (grpc.io, "Status codes")."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


def answer_type(request: Iterable[HeaderField]) -> bytes:
    """Return the Content-Type of a response to a gRPC request; b"" for any other request."""
    for name, value in request:
        if name == b"content-type":
            form = _FORM.match(value)
            return form[0].lower() if form else b""
    return b""


def is_native(content_type: bytes) -> bool:
    """Return whether a response of this type has HTTP trailers; gRPC-Web has them in its body."""
    form = _FORM.match(content_type)
    return form is not None and form[0].lower() == b"application/grpc"


def fields(
    code: Code, slug: str, message: str, members: Mapping[str, str], retry_seconds: int = 0
) -> list[HeaderField]:
    """Return the fields that end a call with a problem.

    `members` are those of the problem document, as texts. `retry_seconds` is when to retry; 0 means
    never.
    """
    reason = slug.upper().replace("-", "_")
    details = [_any("ErrorInfo", _error_info(reason, members))]
    if retry_seconds:
        details.append(_any("RetryInfo", _bytes(1, _varint(1, retry_seconds))))
    whole = _varint(1, code) + _bytes(2, message.encode())
    whole += b"".join([_bytes(3, each) for each in details])
    return [
        (b"grpc-status", b"%d" % code),
        (b"grpc-message", quote(message, safe=_SAFE).encode()),
        # Binary headers have no padding (gRPC over HTTP/2, "Binary headers").
        (b"grpc-status-details-bin", base64.b64encode(whole).rstrip(b"=")),
    ]


def _error_info(reason: str, members: Mapping[str, str]) -> bytes:
    entries = [
        _bytes(3, _bytes(1, name.encode()) + _bytes(2, value.encode()))
        for name, value in members.items()
    ]
    return _bytes(1, reason.encode()) + _bytes(2, DOMAIN.encode()) + b"".join(entries)


def _any(name: str, value: bytes) -> bytes:
    return _bytes(1, f"{_TYPES}{name}".encode()) + _bytes(2, value)


def _bytes(field: int, value: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(value)) + value


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _number(value: int) -> bytes:
    """Return a non-negative number in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value >= _MORE:
        groups.append(value % _MORE | _MORE)
        value >>= 7
    groups.append(value)
    return bytes(groups)
