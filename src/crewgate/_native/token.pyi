"""A compact JWS split and decoded on C buffers, canonical form only; claims' characters checked."""

from crewgate.core.tokens.claims import Claims

class MalformedTokenError(Exception):
    """The token is refused; never says which check failed."""

def split(token: bytes) -> tuple[str, bytes, bytes, bytes]:
    """(kid, signing input, payload JSON, signature) of a token whose form is canonical.

    Checks before any signature: size, three non-empty segments, canonical base64url, header
    exactly {alg, typ, kid}. Raises MalformedTokenError.
    """

def claims(payload: bytes) -> Claims:
    """Strict JSON (UTF-8, depth, duplicate keys, control characters), then typed claims, then
    characters of texts, UUIDs, tool names, distinct path. Raises MalformedTokenError."""
