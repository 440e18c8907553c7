"""DPoP proofs for tests, made by hand: good ones, and whatever hostile form is wanted."""

import hashlib
from typing import Any

import tokens
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

NOW = 1_800_000_100
TOKEN = tokens.token()
URL = "https://gateway.example/search/web"
CLAIMS: dict[str, Any] = {
    "jti": "0199c1d2-bbbb-7000-8000-00000000000b",
    "htm": "POST",
    "htu": URL,
    "iat": NOW,
    "ath": tokens.base64url(hashlib.sha256(TOKEN).digest()).decode(),
}


class Ed25519Client:
    """A client with an Ed25519 key."""

    algorithm = "EdDSA"

    def __init__(self, seed: bytes = b"\1" * 32) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        x = self._key.public_key().public_bytes_raw()
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": tokens.base64url(x).decode()}

    def sign(self, data: bytes) -> bytes:
        """64 bytes (RFC 8037, section 3.1)."""
        return self._key.sign(data)


class P256Client:
    """A client with a P-256 key."""

    algorithm = "ES256"

    def __init__(self, secret: int = 7) -> None:
        self._key = ec.derive_private_key(secret, ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = (tokens.base64url(n.to_bytes(32, "big")).decode() for n in (numbers.x, numbers.y))
        self.jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def sign(self, data: bytes) -> bytes:
        """R and s, 32 bytes each (RFC 7518, section 3.4)."""
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


Client = Ed25519Client | P256Client


def thumbprint(client: Client) -> str:
    """`jkt` of a client's key: RFC 7638, by hand."""
    text = tokens.compact({name: client.jwk[name] for name in sorted(client.jwk)})
    return tokens.base64url(hashlib.sha256(text).digest()).decode()


def header_of(client: Client, **changes: object) -> dict[str, Any]:
    """The header of a client's proofs with some members changed; `...` leaves one out."""
    members = {"typ": "dpop+jwt", "alg": client.algorithm, "jwk": client.jwk, **changes}
    return {name: value for name, value in members.items() if value is not ...}


def claims(**changes: object) -> dict[str, Any]:
    """The claims of a good proof with some changed; `...` leaves one out."""
    members = {**CLAIMS, **changes}
    return {name: value for name, value in members.items() if value is not ...}


def signed(client: Client, header: bytes, payload: bytes) -> bytes:
    """A compact JWS over any two byte strings."""
    signing_input = tokens.base64url(header) + b"." + tokens.base64url(payload)
    return signing_input + b"." + tokens.base64url(client.sign(signing_input))


def proof(client: Client, header: dict[str, Any] | None = None, **changes: object) -> bytes:
    """A proof of the client for the request POST `URL`, with some claims changed."""
    head = header_of(client) if header is None else header
    return signed(client, tokens.compact(head), tokens.compact(claims(**changes)))
