"""The head of an HTTP/1.1 request as a `Request`, or why it is none (RFC 9112 §3, §6).

Refuses what two parsers could frame or address in two ways, beyond what llhttp refuses already.
"""

import re

import httptools

from crewgate.core.http import HeaderField
from crewgate.errors import RequestRefusedError
from crewgate.server.request import Request, build

_SCHEME = b"https://"
_OTHER_PROTOCOLS = b" RTSP/", b" ICE/"
_BLANKS = re.compile(b" {2,}")


def read_head(method: bytes, target: bytes, fields: list[HeaderField], *, version: str) -> Request:
    """Make a request of what the parser found.

    RequestRefusedError with 501 or 505, or as `request.build` says.
    """
    if version not in {"1.1", "1.0"}:
        raise RequestRefusedError(505, "this is neither HTTP/1.1 nor HTTP/1.0")
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings and version == "1.0":  # its framing is faulty whatever it says: RFC 9112 §6.1
        raise RequestRefusedError(400, "HTTP/1.0 has no transfer codings")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise RequestRefusedError(501, "no transfer coding but chunked")
    origin_form, authority = split_target(method, target)
    if authority is not None and version == "1.1" and not any(n == b"host" for n, _ in fields):
        raise RequestRefusedError(400, "HTTP/1.1 without Host")  # RFC 9112 §3.2
    return build(
        method,
        origin_form,
        authority,
        fields,
        version=version,
        stream=0,
        streamed=bool(codings),
    )


def is_other_protocol(method: bytes, target: bytes, version: str, reads: bytes) -> bool:
    """Return whether a request that llhttp calls one of HTTP is none.

    It takes RTSP and ICE too, in any version and with several blanks between the words, and does
    not say so. The request line is somewhere in `reads`, perhaps with that of a request behind it:
    if only the protocol differs in the two, this is true of both.
    """
    if not any(name in reads for name in _OTHER_PROTOCOLS):
        return False
    folded = _BLANKS.sub(b" ", reads)
    ends = [name + version.encode() for name in _OTHER_PROTOCOLS]
    return any(b"%b %b%b" % (method, target, end) in folded for end in ends)


def split_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """Return (target in origin or asterisk form, authority if it was absolute).

    RFC 9112 §3.2.2; an OPTIONS of an absolute form without path is one of the server, §3.2.4.
    Another scheme than https stays as it is, and is no path.
    """
    if target[: len(_SCHEME)].lower() != _SCHEME:
        return target, None
    rest = target[len(_SCHEME) :]
    end = min(len(rest) if place < 0 else place for place in (rest.find(b"/"), rest.find(b"?")))
    authority, path = rest[:end], rest[end:]
    if not path and method == b"OPTIONS":
        return b"*", authority
    return path if path.startswith(b"/") else b"/" + path, authority


def refusal_of(error: Exception) -> RequestRefusedError:
    """Return what the parser's error is to the client."""
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return RequestRefusedError(501, "the method is unknown")
    return RequestRefusedError(400, "this is not HTTP/1.1")
