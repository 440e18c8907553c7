"""An identity provider in this process: keys, their JWKS, and tokens as it signs them."""

import json
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from crewgate.config import IdentityProviderConfig

NOW = 1_800_000_000
ISSUER = "https://id.example/tenant"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = Ed25519PrivateKey.generate()
# Each key with its kid and the name of its algorithm.
KEYS: dict[str, tuple[Any, str]] = {
    "rsa-1": (RSA_KEY, "RS256"),
    "ec-1": (EC_KEY, "ES256"),
    "ed-1": (ED_KEY, "EdDSA"),
}


def jwk(kid: str, **more: object) -> dict[str, Any]:
    """The public key with this kid, as a JWKS has it."""
    key, _ = KEYS[kid]
    reader = {"rsa-1": RSAAlgorithm, "ec-1": ECAlgorithm, "ed-1": OKPAlgorithm}[kid]
    return {**reader.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def jwks(*keys: dict[str, Any]) -> bytes:
    """A JWKS of these keys, or of all."""
    return json.dumps({"keys": keys or [jwk(kid) for kid in KEYS]}).encode()


def provider(folder: Path, **more: Any) -> IdentityProviderConfig:
    """The provider `corp`, whose keys are in a file, and whose application is `crew-app`."""
    path = folder / "corp.jwks.json"
    if not path.exists():
        path.write_bytes(jwks())
    parts: dict[str, Any] = {"audience": ("crew-app",), "jwks": path, **more}
    return IdentityProviderConfig(name="corp", issuer=ISSUER, **parts)


def claims(**changes: object) -> dict[str, Any]:
    """The claims of Ada's ID token; a change to None leaves a claim out."""
    found: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "ada",
        "aud": "crew-app",
        "iat": NOW - 10,
        "exp": NOW + 300,
        **changes,
    }
    return {name: value for name, value in found.items() if value is not None}


def id_token(kid: str = "rsa-1", *, header: dict[str, Any] | None = None, **changes: object) -> str:
    """A token that the provider has signed with one of its keys."""
    key, algorithm = KEYS[kid]
    wanted = {"kid": kid, **(header or {})}
    headers = {name: value for name, value in wanted.items() if value is not None}
    return jwt.encode(claims(**changes), key, algorithm, headers=headers)
