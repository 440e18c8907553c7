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

from crewgate.core import protobuf_wire as wire
from crewgate.core.http_types import HeaderField

DOMAIN = "crewgate.dev"
_TYPES = "type.googleapis.com/google.rpc."
_FORM = re.compile(rb"application/grpc(?:-web(?:-text)?)?(?=[+; \t]|\Z)", re.IGNORECASE)
# gRPC over HTTP/2, "Percent-Encoded": visible ASCII and the blank, except "%".
_SAFE = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"


class Code(enum.IntEnum):
    """The status codes that a refusal may have (grpc.io, "Status codes")."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
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
    code: Code,
    slug: str,
    message: str,
    members: Mapping[str, str],
    retry_seconds: int = 0,
    *,
    domain: str = DOMAIN,
) -> list[HeaderField]:
    """Return the fields that end a call with a problem.

    `members` are those of the problem document, as texts. `retry_seconds` is when to retry; 0 means
    never. `domain` is who defines the slug.
    """
    reason = slug.upper().replace("-", "_")
    details = [_any("ErrorInfo", _error_info(reason, domain, members))]
    if retry_seconds:
        details.append(_any("RetryInfo", wire.delimited(1, wire.integer(1, retry_seconds))))
    whole = wire.integer(1, code) + wire.delimited(2, message.encode())
    whole += b"".join([wire.delimited(3, each) for each in details])
    return [
        (b"grpc-status", b"%d" % code),
        (b"grpc-message", quote(message, safe=_SAFE).encode()),
        # Binary headers have no padding (gRPC over HTTP/2, "Binary headers").
        (b"grpc-status-details-bin", base64.b64encode(whole).rstrip(b"=")),
    ]


def _error_info(reason: str, domain: str, members: Mapping[str, str]) -> bytes:
    entries = [
        wire.delimited(3, wire.delimited(1, name.encode()) + wire.delimited(2, value.encode()))
        for name, value in members.items()
    ]
    head = wire.delimited(1, reason.encode()) + wire.delimited(2, domain.encode())
    return head + b"".join(entries)


def _any(name: str, value: bytes) -> bytes:
    return wire.delimited(1, f"{_TYPES}{name}".encode()) + wire.delimited(2, value)
