"""Finds the token of a request, which must be in exactly one place, and its DPoP proof.

RFC 6750, section 2.1, and RFC 9449, section 7.1.

It never accepts a token in the query (section 2.3 there). The gate then verifies the token.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from crewgate.core.http_types import HeaderField
from crewgate.core.reasons import Reason

AUTHORIZATION = b"authorization"
# The header fields from which a tool's configuration may choose.
CARRIERS = ("authorization", "x-api-key", "x-goog-api-key")
# The prefix of the fields in which the gateway names the caller to the tool's server.
OURS = b"x-crewgate-"
# Characters that CGI, WSGI and PHP (".") treat alike in names, and all others besides letters.
PLAIN = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)
_BEARER, _DPOP = b"bearer", b"dpop"
# HTML 4.01, appendix B.2.2, also allows ";".
_DIVIDERS = re.compile(rb"[&;]")
# An encoded octet of a name; IIS also decodes %uXXXX.
_ENCODED = re.compile(rb"\+|%u00([0-7][0-9a-f])|%([0-9a-f]{2})", re.IGNORECASE)
# PHP reads ".", a blank and an unclosed "[" as "_", skips blanks before a name, and makes an array
# of "name[]", as Rails does. Strings in C end at the first zero octet.
_NAMED = re.compile(rb"\s*access[_. \[]token(?:\s*\Z|[\[\0])", re.IGNORECASE)


class Credentials(NamedTuple):
    """A token, and the value of the field DPoP if the token came with that scheme.

    Without such a field, the proof of a token with that scheme is empty.
    """

    token: bytes
    proof: bytes | None

    def __repr__(self) -> str:
        """Return a text without the secrets."""
        return f"<Credentials {'with' if self.proof is not None else 'without'} a proof>"


def find_token(
    headers: list[HeaderField], query: bytes, carriers: Collection[bytes]
) -> Credentials | Reason:
    """Return the token and its proof, or INVALID_REQUEST or MISSING_TOKEN.

    `carriers` are the lower-case names of the fields that may have the token: `authorization` with
    the scheme Bearer or DPoP, other fields with the bare token. An Authorization with another
    scheme is ignored.
    """
    if query and _has_token(query):
        return Reason.INVALID_REQUEST
    found: bytes | None = None
    has_authorization = is_dpop = False
    for name, value in headers:
        if name not in carriers or name == _DPOP:
            continue
        if name == AUTHORIZATION:
            if has_authorization:
                return Reason.INVALID_REQUEST
            has_authorization = True
            scheme, _, token = value.partition(b" ")
            if scheme.lower() not in {_BEARER, _DPOP}:
                continue
            is_dpop, token = scheme.lower() == _DPOP, token.strip(b" ")
        else:
            token = value
        if found is not None or not token or token.translate(None, b" ,\t") != token:
            return Reason.INVALID_REQUEST
        found = token
    proofs = [value for name, value in headers if name == _DPOP]
    if len(proofs) > 1:
        return Reason.INVALID_REQUEST
    if found is None:
        return Reason.MISSING_TOKEN
    return Credentials(found, (proofs[0] if proofs else b"") if is_dpop else None)


def is_ours(name: bytes) -> bool:
    """Return whether a server could take a client's field (lower case) for one of the gateway's."""
    return name.translate(PLAIN).startswith(OURS)


def _has_token(query: bytes) -> bool:
    """Return whether a parameter is named `access_token`, in any spelling that servers accept."""
    return any(
        _NAMED.match(_ENCODED.sub(_octet, parameter.partition(b"=")[0]))
        for parameter in _DIVIDERS.split(query)
    )


def _octet(match: re.Match[bytes]) -> bytes:
    digits = match[1] or match[2]
    return bytes.fromhex(digits.decode()) if digits else b" "
