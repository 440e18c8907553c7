"""Decodes a token for a person to read; never verifies it, so no program may trust the result."""

import base64
import json

import msgspec

from crewgate import limits
from crewgate._native import token as native
from crewgate.core.tokens.claims import Claims
from crewgate.errors import IssuerError

# A person may paste a longer token than a gateway accepts.
_BYTES_MAX = 16 * limits.token_bytes_max


class TokenInspection(msgspec.Struct, frozen=True):
    """The content of a token, unverified.

    Attributes:
        header: The decoded JSON of the header.
        payload: The decoded JSON of the payload.
        bytes: The length of the token in bytes.
        claims: The claims, or None if gateways would refuse the form of the token.
    """

    header: object
    payload: object
    bytes: int
    claims: Claims | None


def inspect_token(text: str) -> TokenInspection:
    """Decode a token without verifying it.

    Raises:
        IssuerError: The text is not three segments of JSON in base64url.
    """
    text = text.strip()
    segments = text.split(".")
    if len(segments) != 3 or len(text) > _BYTES_MAX:  # noqa: PLR2004 - RFC 7515, section 7.1
        raise IssuerError("not a token: expected three segments with dots between them")
    return TokenInspection(
        header=_segment(segments[0], "header"),
        payload=_segment(segments[1], "payload"),
        bytes=len(text),
        claims=_claims(text),
    )


def read_claims(text: str) -> Claims:
    """Return the claims of a token, unverified.

    Raises:
        IssuerError: Gateways would refuse the form of the token.
    """
    claims = _claims(text.strip())
    if claims is None:
        raise IssuerError("not a token that a gateway accepts: its form or a claim is wrong")
    return claims


def _claims(text: str) -> Claims | None:
    try:
        return native.claims(native.split(text.encode(errors="replace"))[2])
    except native.MalformedTokenError:
        return None


def _segment(text: str, name: str) -> object:
    try:
        return json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_"))
    except (ValueError, RecursionError):
        raise IssuerError(f"not a token: its {name} is not JSON in base64url") from None
