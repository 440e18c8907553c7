"""Signs agent cards with a key of the gateway (A2A 1.0, section 8.4.2; RFC 7515).

The key id is the thumbprint of the public key (RFC 7638), so a verifier that knows the key can
compute it.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from crewgate.core.a2a.agent_card import CardSigner

_encode = msgspec.json.Encoder().encode


def read_card_signer(path: Path) -> CardSigner:
    """Return what signs cards with the Ed25519 key in a PEM file.

    Raises:
        ConfigurationError: The file holds no such key, or other users can read it.
    """
    # `cryptography` takes memory that workers without such a key save.
    from crewgate.issuer.signing import read_private_key  # noqa: PLC0415

    private = read_private_key(path)
    x = _base64url(private.public_key().public_bytes_raw())
    thumbprint = hashlib.sha256(_encode({"crv": "Ed25519", "kty": "OKP", "x": x})).digest()
    header = {"alg": "EdDSA", "typ": "JOSE", "kid": _base64url(thumbprint)}
    protected = _base64url(_encode(header))

    def sign(payload: bytes) -> Mapping[str, str]:
        signature = private.sign(f"{protected}.{_base64url(payload)}".encode())
        return {"protected": protected, "signature": _base64url(signature)}

    return sign


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
