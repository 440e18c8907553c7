"""Turns the parsed head of an HTTP/1.1 request into a `Request` (RFC 9112 §3, §6).

Beyond what llhttp refuses, it refuses heads that two parsers could frame or address in two ways.
"""

import re

import httptools

from crewgate.core.http_types import HeaderField
from crewgate.errors import InvalidRequestError
from crewgate.server.request import Request, build

_SCHEME = b"https://"
_OTHER_PROTOCOLS = b" RTSP/", b" ICE/"
_BLANKS = re.compile(b" {2,}")


def read_head(method: bytes, target: bytes, fields: list[HeaderField], *, version: str) -> Request:
    """Return the request whose parts the parser found.

    Raises:
        InvalidRequestError: The version (505) or the transfer coding (400, 501) is not accepted,
            Host is missing (400), or `request.build` refuses the head.
    """
    if version not in {"1.1", "1.0"}:
        raise InvalidRequestError(505, "the version is neither HTTP/1.1 nor HTTP/1.0")
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings and version == "1.0":  # the framing is faulty with any coding: RFC 9112 §6.1
        raise InvalidRequestError(400, "an HTTP/1.0 request has a Transfer-Encoding")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise InvalidRequestError(501, "the transfer coding is not `chunked`")
    origin_form, authority = split_target(method, target)
    if authority is not None and version == "1.1" and not any(n == b"host" for n, _ in fields):
        raise InvalidRequestError(400, "an HTTP/1.1 request has no Host")  # RFC 9112 §3.2
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
    """Return whether a request that llhttp accepts as HTTP names another protocol.

    llhttp also accepts RTSP and ICE, in any version and with several blanks between the words, and
    gives no sign of it. `reads` holds the request line, and perhaps that of the next request. If
    the two lines differ only in the protocol, the result is True for both.
    """
    if not any(name in reads for name in _OTHER_PROTOCOLS):
        return False
    folded = _BLANKS.sub(b" ", reads)
    ends = [name + version.encode() for name in _OTHER_PROTOCOLS]
    return any(b"%b %b%b" % (method, target, end) in folded for end in ends)


def split_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """Split a request target into (target in origin or asterisk form, authority or None).

    The authority is that of a target in absolute form (RFC 9112 §3.2.2). An OPTIONS request with an
    absolute form without a path asks about the whole server (§3.2.4), so its target becomes `*`. A
    target with a scheme other than https is returned unchanged: it is no path, and `build` refuses
    it.
    """
    if target[: len(_SCHEME)].lower() != _SCHEME:
        return target, None
    rest = target[len(_SCHEME) :]
    end = min(len(rest) if place < 0 else place for place in (rest.find(b"/"), rest.find(b"?")))
    authority, path = rest[:end], rest[end:]
    if not path and method == b"OPTIONS":
        return b"*", authority
    return path if path.startswith(b"/") else b"/" + path, authority


def refusal_of(error: Exception) -> InvalidRequestError:
    """Return the refusal that the client gets for an error of the parser."""
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return InvalidRequestError(501, "the method is unknown")
    return InvalidRequestError(400, "the bytes are not valid HTTP/1.1")
