"""Where a request carries its token: exactly one place, or it is refused before any judgement.

Says only that there is one token and which bytes it is; whether it is good is the gate's business
(RFC 6750 §2.1; §2.3, the token in the query, is never accepted).
"""

import re
from collections.abc import Collection

from crewgate.core.http import HeaderField
from crewgate.core.problem_types import Reason

AUTHORIZATION = b"authorization"
CARRIERS = ("authorization", "x-api-key", "x-goog-api-key")  # that a tool may choose from
OURS = b"x-crewgate-"  # fields in which the gateway tells who is calling
# What CGI, WSGI and PHP (".") make one of, and whatever else a name may hold beside letters.
PLAIN = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)
_SCHEME = b"bearer"
_DIVIDERS = re.compile(rb"[&;]")  # ";" of old: HTML 4.01, appendix B.2.2
# What stands for one octet of a name; %uXXXX is IIS's.
_ENCODED = re.compile(rb"\+|%u00([0-7][0-9a-f])|%([0-9a-f]{2})", re.IGNORECASE)
# PHP takes ".", a blank and a "[" that is not closed for "_", leaves blanks before a name out, and
# makes an array of what is called "name[]", as Rails does; C's strings end at the first 0.
_NAMED = re.compile(rb"\s*access[_. \[]token(?:\s*\Z|[\[\0])", re.IGNORECASE)


def find_token(
    headers: list[HeaderField], query: bytes, carriers: Collection[bytes]
) -> bytes | Reason:
    """Return the token, or INVALID_REQUEST or MISSING_TOKEN.

    `carriers` are the lower-case fields that may hold it: `authorization` with the Bearer scheme,
    others with the bare token. An Authorization of another scheme is no token.
    """
    if query and _holds_token(query):
        return Reason.INVALID_REQUEST
    found: bytes | None = None
    authorized = False
    for name, value in headers:
        if name not in carriers:
            continue
        if name == AUTHORIZATION:
            if authorized:
                return Reason.INVALID_REQUEST
            authorized = True
            token = _bearer(value)
            if token is None:
                continue
        else:
            token = value
        if found is not None or not token or token.translate(None, b" ,\t") != token:
            return Reason.INVALID_REQUEST
        found = token
    return Reason.MISSING_TOKEN if found is None else found


def is_ours(name: bytes) -> bool:
    """Return whether a client's field (lower case) could pass for one of the gateway's."""
    return name.translate(PLAIN).startswith(OURS)


def _bearer(value: bytes) -> bytes | None:
    """Return what follows the scheme; None for another scheme."""
    scheme, _, token = value.partition(b" ")
    return token.strip(b" ") if scheme.lower() == _SCHEME else None


def _holds_token(query: bytes) -> bool:
    """Return whether a parameter is named `access_token`, however it is spelled."""
    return any(
        _NAMED.match(_ENCODED.sub(_octet, parameter.partition(b"=")[0]))
        for parameter in _DIVIDERS.split(query)
    )


def _octet(match: re.Match[bytes]) -> bytes:
    digits = match[1] or match[2]
    return bytes.fromhex(digits.decode()) if digits else b" "
