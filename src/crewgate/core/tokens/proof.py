"""The header and the claims of a DPoP proof (RFC 9449, section 4.2), and the thumbprint of its key.

Types only: the native core (`_native/proof`) compares them with the request and checks the
signature.
"""

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from crewgate import limits
from crewgate.core.tokens.claims import Digest, Seconds


class Ed25519Key(msgspec.Struct, frozen=True, gc=False, tag_field="kty", tag="OKP"):
    """A public Ed25519 key as a JWK (RFC 8037, section 2). A private key is refused."""

    crv: Literal["Ed25519"]
    x: Digest
    d: UnsetType = UNSET

    def required_members(self) -> str:
        """Return the JSON text that the thumbprint hashes."""
        return f'{{"crv":"Ed25519","kty":"OKP","x":"{self.x}"}}'


class P256Key(msgspec.Struct, frozen=True, gc=False, tag_field="kty", tag="EC"):
    """A public P-256 key as a JWK (RFC 7518, section 6.2.1). A private key is refused."""

    crv: Literal["P-256"]
    x: Digest
    y: Digest
    d: UnsetType = UNSET

    def required_members(self) -> str:
        """Return the JSON text that the thumbprint hashes."""
        return f'{{"crv":"P-256","kty":"EC","x":"{self.x}","y":"{self.y}"}}'


PublicKey = Ed25519Key | P256Key
PROOF_ALGORITHMS = ("EdDSA", "Ed25519", "ES256")
"""RFC 8037, RFC 9864, section 2.2, and RFC 7518, section 3.4."""


class ProofHeader(msgspec.Struct, frozen=True, gc=False):
    """The JOSE header of a proof. A reader must understand what `crit` names, so it is refused."""

    typ: Literal["dpop+jwt"]
    alg: Literal["EdDSA", "Ed25519", "ES256"]
    jwk: PublicKey
    crit: UnsetType = UNSET


class ProofClaims(msgspec.Struct, frozen=True, gc=False):
    """The payload of a proof: `iat` is in seconds since the epoch; unknown members are ignored."""

    jti: Annotated[str, Meta(min_length=1, max_length=limits.proof_id_chars_max)]
    htm: str
    htu: str
    iat: Seconds | Annotated[float, Meta(ge=0, le=limits.time_seconds_max)]
    ath: str
    nonce: str | UnsetType = UNSET


decode_header = msgspec.json.Decoder(ProofHeader).decode
decode_proof = msgspec.json.Decoder(ProofClaims).decode


def thumbprint(key: PublicKey) -> bytes:
    """Return the SHA-256 thumbprint of a JWK, 32 bytes (RFC 7638, section 3)."""
    return hashlib.sha256(key.required_members().encode()).digest()
