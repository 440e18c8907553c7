"""Defines a request and its client, the same for HTTP/1.1 and HTTP/2.

`build` and `read` refuse what two parsers could read in two ways: bytes outside ASCII in the
request line, a target that is no path, a Host that differs from the authority; and CONNECT and
TRACE. This module knows no path rules, tools or tokens.
"""

from collections.abc import Sequence

import msgspec

from crewgate._native.request_head import RequestHeadParser
from crewgate.core.http_types import HeaderField
from crewgate.core.x509.identity_extension import Identity

# CONNECT would open a tunnel; TRACE would show a client what the gateway adds (RFC 9110 §9.3.8).
UNSUPPORTED = frozenset({b"CONNECT", b"TRACE"})


class ClientInfo(msgspec.Struct, frozen=True):
    """The client at the other end of a connection.

    `address` is its IP address, `certificate` the DER bytes that the handshake proved, if any. The
    other fields are set once an authorizer has admitted the certificate: its SHA-256 digest
    (`certificate_digest`, as RFC 8705 names certificates), its `identity`, the key of the branch in
    the table if the client is the agent of one (`branch_key`), its `serial`
    (`serial_text`: in upper-case hexadecimal, as the audit writes it), the name of the `listener`,
    and when it was `issued` and expires (`not_after`), in seconds since the epoch.
    """

    address: str
    port: int = 0
    certificate: bytes | None = None
    certificate_digest: bytes | None = None
    identity: Identity | None = None
    branch_key: bytes | None = None
    serial: int = 0
    listener: str = ""
    serial_text: str = ""
    issued: int = 0
    not_after: int = 0

    @property
    def crew(self) -> str | None:
        """The crew of the certificate's identity; None without a crew or an identity."""
        return self.identity.crew if self.identity is not None else None


class Request(msgspec.Struct, frozen=True, gc=False):
    """The head of a request.

    `target` is in origin form, or `*` for OPTIONS; `path` and `query` are its parts without the
    first `?`. `authority` replaces the field `host`, which `headers` does not contain; the names in
    `headers` are in lower case. `stream` is the HTTP/2 stream, 0 over HTTP/1.1. `length` is the
    declared size of the body in bytes: 0 for no body, None if it is unknown.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    authority: bytes
    headers: list[HeaderField]
    version: str
    stream: int
    length: int | None

    def __repr__(self) -> str:
        """Omit fields and query, which may hold a token."""
        return f"<Request {self.method!r} {self.path!r}>"


_parser = RequestHeadParser(Request, UNSUPPORTED)
# `build` takes a request line and its fields (HTTP/1.1), `read` the fields of a stream (HTTP/2).
# The checks are in _native/request_head. Both raise InvalidRequestError with 400, 413 or 501.
build = _parser.build
read = _parser.read


def is_dated(headers: Sequence[HeaderField]) -> bool:
    """Return whether a response has a Date; a forwarder adds a missing one (RFC 9110 §6.6.1)."""
    for name, _ in headers:  # noqa: SIM110 - takes a third of the time of any()
        if name == b"date":
            return True
    return False
