"""Whether a token that is to be extended, or to have children, was signed by its crew.

Whoever signs holds the crew's key already; a token is verified all the same, because signing
another for it would turn a forgery into the real thing. Says nothing of time and revocation.
"""

from typing import NamedTuple

from crewgate._native import signature
from crewgate._native import token as native
from crewgate.core.policy.policy import VerificationKey
from crewgate.core.tokens.claims import Claims
from crewgate.errors import IssuerError
from crewgate.issuer.inspection import read_claims


def signing_key_of(text: str, keys: tuple[VerificationKey, ...]) -> VerificationKey | None:
    """The key among `keys` that signed the token; None if none did. Says nothing of time."""
    try:
        kid, signed, _, signed_with = native.split(text.encode(errors="replace"))
    except native.MalformedTokenError:
        return None
    for key in keys:
        if key.kid == kid and signature.verify(key.public, signed, signed_with):
            return key
    return None


class VerifiedToken(NamedTuple):
    """What a token says, and the key that signed it."""

    claims: Claims
    kid: str


def verify_token(text: str, keys: tuple[VerificationKey, ...], crew: str) -> VerifiedToken:
    """What a token says, and which of the crew's `keys` signed it.

    Raises:
        IssuerError: None of them did, or it is no token of the crew.
    """
    claims, key = read_claims(text), signing_key_of(text, keys)
    if claims.crew != crew or key is None:
        raise IssuerError(f"the token is not signed by a key of crew {crew} in its JWKS file")
    return VerifiedToken(claims, key.kid)
