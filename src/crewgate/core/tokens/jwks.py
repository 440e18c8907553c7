"""Parses a crew's JWKS (RFC 7517, RFC 8037), which may have only public Ed25519 keys.

A file is accepted as a whole or not at all: a key that was silently skipped would be missed at the
worst moment. The caller checks that the 32 bytes of a key are a point of the curve (libsodium), and
that two crews do not share a kid.
"""

import base64
import json
from typing import Any

from crewgate import limits
from crewgate.core.policy.policy import VerificationKey
from crewgate.core.tokens.claims import is_text
from crewgate.errors import ConfigurationError

KEY_BYTES = 32
# The algorithm's two names, of RFC 8037 and RFC 9864.
ALGORITHMS = ("EdDSA", "Ed25519")


def parse_jwks(data: bytes, crew: str, where: str) -> tuple[VerificationKey, ...]:
    """Return the keys of `crew` in the JWKS `data`, in file order; errors name the path `where`.

    Unknown members of a JWK are ignored. Raises ConfigurationError, which names the key and says
    how to mend it.
    """
    if len(data) > limits.jwks_bytes_max:
        raise ConfigurationError(
            f"{where}: {len(data)} bytes; expected a JWKS of at most {limits.jwks_bytes_max} bytes"
        )
    try:
        document = json.loads(data, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where}: not JSON: {error}") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > limits.jwks_keys_max:
        raise ConfigurationError(
            f'{where}: expected {{"keys": [...]}} with at most {limits.jwks_keys_max} keys'
        )
    keys = tuple(
        _key(member, crew, f"{where}: key {number}")
        for number, member in enumerate(members, start=1)
    )
    _refuse_duplicates(keys, where)
    return keys


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members. Raises ValueError for a duplicate: parsers differ on it."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members


def _refuse_duplicates(keys: tuple[VerificationKey, ...], where: str) -> None:
    seen: set[str] = set()
    for key in keys:
        if key.kid in seen:
            raise ConfigurationError(
                f"{where}: kid {key.kid!r} names two keys; give each its own kid"
            )
        seen.add(key.kid)


def _key(member: object, crew: str, where: str) -> VerificationKey:
    if not isinstance(member, dict):
        raise ConfigurationError(f"{where}: expected a JWK, a JSON object")
    kid = member.get("kid")
    if not isinstance(kid, str) or not is_text(kid):
        raise ConfigurationError(
            f"{where}: kid is required: 1 to {limits.claim_chars_max} characters of "
            "A-Z a-z 0-9 . _ : / @ -"
        )
    where = f"{where} ({kid})"
    if "d" in member or "k" in member:
        raise ConfigurationError(
            f'{where}: has a private key ("d"), but this file is for public keys: remove it, '
            "and replace the key if others could read the file"
        )
    _require(member, "kty", ("OKP",), where)
    _require(member, "crv", ("Ed25519",), where)
    if "alg" in member:
        _require(member, "alg", ALGORITHMS, where)
    if "use" in member:
        _require(member, "use", ("sig",), where)
    if "key_ops" in member and "verify" not in _texts(member["key_ops"]):
        raise ConfigurationError(f'{where}: key_ops must contain "verify"')
    return VerificationKey(
        kid=kid,
        crew=crew,
        public=_public(member.get("x"), where),
        orchestrator=_orchestrator(member, crew, where),
    )


def _require(member: dict[str, Any], name: str, allowed: tuple[str, ...], where: str) -> None:
    if member.get(name) not in allowed:
        expected = " or ".join(f'"{value}"' for value in allowed)
        raise ConfigurationError(f"{where}: {name} must be {expected}")


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _public(text: object, where: str) -> bytes:
    """Return the 32 bytes of canonical base64url without padding (RFC 8037, section 2)."""
    try:
        public = base64.b64decode(f"{text}=", altchars=b"-_", validate=True)
    except ValueError:
        public = b""
    canonical = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    if len(public) != KEY_BYTES or canonical != text:
        raise ConfigurationError(
            f"{where}: x must be {KEY_BYTES} bytes as 43 characters of base64url, no padding"
        )
    return public


def _orchestrator(member: dict[str, Any], crew: str, where: str) -> str | None:
    name = member.get("orchestrator")
    if name is None:
        return None
    own = f"{crew}/"
    if not isinstance(name, str) or not is_text(name) or not name.startswith(own) or name == own:
        raise ConfigurationError(f'{where}: orchestrator must be "{own}" followed by a name')
    return name
