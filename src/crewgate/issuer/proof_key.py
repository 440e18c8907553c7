"""The key to which a token can be bound, and the proofs that a client has it (RFC 9449).

A stolen token is worthless without the key. So keep the key where the token is used: in the memory
of the sub-agent's process, or in a file that only this process can read.
"""

import hashlib
import os
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign, crypto_sign_BYTES

from crewgate.core.tokens.proof import Ed25519Key
from crewgate.issuer.bindings import base64url, confirmation
from crewgate.issuer.signing import read_private_key, write_private_key

_ID_BYTES = 16  # random ones of `jti`; RFC 9449, section 4.2, asks for 96 bits at least


class ProofKey:
    """An Ed25519 private key that signs DPoP proofs. Its `repr` shows the thumbprint alone.

    Attributes:
        binding: What a token must have as `cnf` to be bound to this key (RFC 7800).
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        x = private.public_key().public_bytes_raw()
        self._private = private
        # libsodium signs in two thirds of the time of `cryptography`.
        self._signing = private.private_bytes_raw() + x
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url(x)}
        header = {"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk}
        self._header = base64url(msgspec.json.encode(header))
        self.binding = confirmation(Ed25519Key(crv="Ed25519", x=jwk["x"]))

    def __repr__(self) -> str:
        return f"<ProofKey {self.binding.jkt}>"

    @classmethod
    def generate(cls) -> Self:
        """Make a new random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read the private key in the PEM file `path`.

        Raises:
            ConfigurationError: The file is missing, other users can read it, or it holds no Ed25519
                key.
        """
        return cls(read_private_key(Path(path)))

    def write(self, path: Path | str) -> None:
        """Write the private key as PKCS 8 PEM into a new file of mode 0600.

        Raises:
            FileExistsError: The file exists already.
            OSError: The file cannot be written.
        """
        write_private_key(self._private, Path(path))

    def proof(self, token: str, method: str, url: str, nonce: str = "") -> str:
        """Return a proof for one request with `token`: the value of the header field `DPoP`.

        `url` is the URL of the request. `nonce` is the last value of `DPoP-Nonce` from the server.
        """
        parts = urlsplit(url)
        target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path or '/'}"
        return self.proof_of(token_digest(token), method, target, nonce)

    def proof_of(self, digest: str, method: str, target: str, nonce: str = "") -> str:
        """Return a proof, as `proof` does, for a caller that makes many.

        `digest` is the `token_digest` of the token, `target` the URL without query and fragment.
        """
        claims = {
            "jti": base64url(os.urandom(_ID_BYTES)),
            "htm": method,
            "htu": target,
            "iat": int(time.time()),
            "ath": digest,
        }
        if nonce:
            claims["nonce"] = nonce
        signed = f"{self._header}.{base64url(msgspec.json.encode(claims))}"
        signature = crypto_sign(signed.encode(), self._signing)[:crypto_sign_BYTES]
        return f"{signed}.{base64url(signature)}"


def token_digest(token: str) -> str:
    """Return the claim `ath` of a proof for a token (RFC 9449, section 4.2)."""
    return base64url(hashlib.sha256(token.encode()).digest())
