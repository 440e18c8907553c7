"""Verifies that a crew signed a token, before the token is extended or gets children.

The signer has the crew's key, but it must not sign a successor for a forged token: that would make
the forgery genuine. Nothing here checks expiry or revocation.
"""

from typing import NamedTuple

from crewgate._native import signature
from crewgate._native import token as native
from crewgate.core.policy.policy import VerificationKey
from crewgate.core.tokens.claims import Claims
from crewgate.errors import IssuerError
from crewgate.issuer.inspection import read_claims


def signing_key_of(text: str, keys: tuple[VerificationKey, ...]) -> VerificationKey | None:
    """Return the key among `keys` that signed the token; None if none did. Ignores expiry."""
    try:
        kid, signed, _, signed_with = native.split(text.encode(errors="replace"))
    except native.MalformedTokenError:
        return None
    for key in keys:
        if key.kid == kid and signature.verify(key.public, signed, signed_with):
            return key
    return None


class VerifiedToken(NamedTuple):
    """The claims of a token, and the id of the key that signed it."""

    claims: Claims
    kid: str


def verify_token(text: str, keys: tuple[VerificationKey, ...], crew: str) -> VerifiedToken:
    """Verify a token of a crew with the crew's `keys`; ignores expiry.

    Raises:
        IssuerError: None of the keys signed the token, or it is not a token of the crew.
    """
    claims, key = read_claims(text), signing_key_of(text, keys)
    if claims.crew != crew or key is None:
        raise IssuerError(f"the token is not signed by a key of crew {crew} in its JWKS file")
    return VerifiedToken(claims, key.kid)
