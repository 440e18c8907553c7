"""What a request is, whatever protocol carried it, and which ones are refused as malformed.

Refuses what two parsers could read in two ways: bytes outside ASCII in the request line, a target
that is no path, a Host that is not the authority, CONNECT, TRACE. Knows no path rules, tools or
tokens.
"""

from collections.abc import Sequence

import msgspec

from crewgate._native.request_head import RequestHeadParser
from crewgate.core.http import HeaderField
from crewgate.core.x509.identity import Identity

# CONNECT would make a tunnel; TRACE would show a client what the gateway adds (RFC 9110 §9.3.8).
UNSUPPORTED = frozenset({b"CONNECT", b"TRACE"})


class ClientInfo(msgspec.Struct, frozen=True):
    """Who is at the other end of a connection.

    `address` is the IP address; `certificate` the DER bytes that the handshake proved, if any. Once
    a guard has admitted it: its `serial`, whom it speaks for (`identity`), at which `listener`,
    when it was `issued` and its end, `not_after`, in seconds since the epoch.
    """

    address: str
    port: int = 0
    certificate: bytes | None = None
    identity: Identity | None = None
    serial: int = 0
    listener: str = ""
    serial_text: str = ""  # upper-case hexadecimal, as the audit has it
    issued: int = 0
    not_after: int = 0

    @property
    def crew(self) -> str | None:
        """The crew that the certificate speaks for; None without one."""
        return self.identity.crew if self.identity is not None else None


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request's head. Field names are lower-case; `host` is gone, `authority` has it.

    `target` is in origin form, or `*` of an OPTIONS; `path` and `query` are its parts without the
    first `?`. `length` is the declared size of the body in bytes, None for a body of unknown size,
    0 for none.
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
        """Without fields and query, which may hold a token."""
        return f"<Request {self.method!r} {self.path!r}>"


_heads = RequestHeadParser(Request, UNSUPPORTED)
# Of a request line and its fields (HTTP/1.1), and of the fields of a stream (HTTP/2): every check
# stands in _native/request_head. RequestRefusedError with 400, 413 or 501.
build = _heads.build
read = _heads.read


def is_dated(headers: Sequence[HeaderField]) -> bool:
    """Return whether an answer has a Date; who forwards one without adds it (RFC 9110 §6.6.1)."""
    for name, _ in headers:  # noqa: SIM110 - in a third of the time of any()
        if name == b"date":
            return True
    return False
