"""The public keys of an identity provider, read from a JWKS (RFC 7517).

A provider also publishes keys for other uses, and of types that are unknown here. So a key that
cannot be used is left out: it may be too weak, or have its private half in the set.
"""

import base64
import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import InvalidKeyError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from crewgate import limits
from crewgate.errors import ConfigurationError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_OF_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_OF_CURVE = {"secp256r1": ["ES256"], "secp384r1": ["ES384"], "secp521r1": ["ES512"]}
_OF_ED25519 = frozenset({"EdDSA", "Ed25519"})  # the names of RFC 8037 and RFC 9864
# The members of a public key of each type, in the order of RFC 7638, section 3.2.
_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
_READERS = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}


_EXPECTED = (
    f"a public key for signatures: RSA of {limits.rsa_bits_min} to {limits.rsa_bits_max} bits, "
    "P-256, P-384, P-521 or Ed25519"
)


class ProviderKey(NamedTuple):
    """One key: its id (empty if it has none), and the algorithms whose signatures it verifies."""

    kid: str
    public: PublicKey
    algorithms: frozenset[str]


def find_keys(keys: Iterable[ProviderKey], kid: str, algorithm: str) -> list[ProviderKey]:
    """Return the keys that can have made a signature; without a `kid`, the only fitting one."""
    fitting = [key for key in keys if algorithm in key.algorithms]
    if kid:
        return [key for key in fitting if key.kid == kid]
    return fitting if len(fitting) == 1 else []


def parse_provider_jwks(
    data: bytes, pinned: Collection[str], where: str
) -> tuple[ProviderKey, ...]:
    """Return the keys of the JWKS `data` that verify signatures; errors name the place `where`.

    `pinned` has the thumbprints (RFC 7638) of the only keys to return; if it is empty, the function
    returns all. Raises ConfigurationError, also if there is no such key.
    """
    if len(data) > limits.provider_answer_bytes_max:
        raise ConfigurationError(
            f"{where}: more than {limits.provider_answer_bytes_max} bytes; expected a JWKS"
        )
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{where}: not JSON; expected a JWKS (RFC 7517)") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > limits.provider_keys_max:
        raise ConfigurationError(
            f'{where}: expected {{"keys": [...]}} with at most {limits.provider_keys_max} keys'
        )
    usable = [(member, key) for member in members if (key := _key(member)) is not None]
    keys = tuple(key for member, key in usable if not pinned or _thumbprint(member) in pinned)
    if not keys:
        raise ConfigurationError(
            f"{where}: none of {len(members)} keys "
            + (
                "has a thumbprint of pinned_keys"
                if usable
                else f"can be used; expected {_EXPECTED}"
            )
        )
    return keys


def _key(member: object) -> ProviderKey | None:
    """Return a key; None if it cannot or must not verify a token."""
    if not isinstance(member, dict) or not _is_for_signatures(member):
        return None
    kid, public = member.get("kid", ""), _public(member)
    if public is None or not isinstance(kid, str):
        return None
    algorithms = _algorithms(public)
    if "alg" in member:
        algorithms &= {str(member["alg"])}
    return ProviderKey(kid, public, algorithms) if algorithms else None


def _is_for_signatures(member: dict[str, Any]) -> bool:
    """Return whether a JWK is a public key that may verify (RFC 7517, sections 4.2 and 4.3)."""
    operations = member.get("key_ops", ["verify"])
    may_verify = isinstance(operations, list) and "verify" in operations
    return member.get("use", "sig") == "sig" and may_verify and "d" not in member


def _public(member: dict[str, Any]) -> PublicKey | None:
    kind = member.get("kty")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        return None
    # Without other members, so that no parser sees more of the key than its public half.
    public = {name: member.get(name) for name in _MEMBERS[kind]}
    try:
        key = _READERS[kind](public)
    except (InvalidKeyError, ValueError, TypeError, AttributeError):
        return None
    return key if isinstance(key, PublicKey) else None


def _algorithms(public: PublicKey) -> frozenset[str]:
    if isinstance(public, Ed25519PublicKey):
        return _OF_ED25519
    if isinstance(public, EllipticCurvePublicKey):
        return frozenset(_OF_CURVE.get(public.curve.name, ()))
    is_strong = limits.rsa_bits_min <= public.key_size <= limits.rsa_bits_max
    is_fast = public.public_numbers().e <= limits.rsa_exponent_max
    return _OF_RSA if is_strong and is_fast else frozenset()


def _thumbprint(member: dict[str, Any]) -> str:
    """Return the SHA-256 thumbprint of a JWK in base64url (RFC 7638, section 3)."""
    required = {name: member[name] for name in _MEMBERS[member["kty"]]}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
