"""Splits and decodes a token (a compact JWS) of canonical form, and checks its claims."""

from crewgate.core.tokens.claims import Claims

class MalformedTokenError(Exception):
    """The token is refused. The error never says which check failed."""

def split(token: bytes) -> tuple[str, bytes, bytes, bytes]:
    """Return (kid, signing input, payload JSON, signature) of a token of canonical form.

    Checks the size, three non-empty segments, canonical base64url, and a header of exactly {alg,
    typ, kid}; does not verify the signature. Raises MalformedTokenError.
    """

def claims(payload: bytes) -> Claims:
    """Read the claims of a payload. Raises MalformedTokenError.

    Checks strict JSON (UTF-8, depth, duplicate keys, control characters), the types of claims, the
    characters of texts, UUIDs and tool names, and that all branches of the path are distinct."""
