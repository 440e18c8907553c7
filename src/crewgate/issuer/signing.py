"""The private key of an orchestrator, read from a file that only its owner can read.

`mint` signs with it, through PyJWT. The key is never shown.
"""

import base64
import os
import stat
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from crewgate import limits
from crewgate.core.policy.policy import VerificationKey
from crewgate.core.tokens.claims import is_text
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause, create_file


class SigningKey:
    """An Ed25519 private key and the key id (`kid`) by which the gateways know it.

    `orchestrator` is the only `client_id` that the key may sign for, or None if the key may sign
    for every orchestrator of its crew.

    Raises:
        ConfigurationError: `kid` has a character that tokens cannot contain.
    """

    def __init__(
        self, private: Ed25519PrivateKey, kid: str, orchestrator: str | None = None
    ) -> None:
        if not is_text(kid):
            raise ConfigurationError(f"not a key id: {kid[:64]!r}; use A-Z a-z 0-9 . _ : / @ -")
        self.private = private
        self.kid = kid
        self.orchestrator = orchestrator

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid}>"

    @classmethod
    def generate(cls, kid: str) -> Self:
        """Make a new random key.

        Raises:
            ConfigurationError: `kid` has a character that tokens cannot contain.
        """
        return cls(Ed25519PrivateKey.generate(), kid)

    @classmethod
    def load(cls, path: Path | str, keys: tuple[VerificationKey, ...], where: str) -> Self:
        """Read the private key in the PEM file `path`, and its `kid` in the crew's JWKS.

        `keys` are the public keys in the JWKS file `where`. With the files of `crewgate init`::

            def public_key(jwk):
                x = base64.urlsafe_b64decode(jwk["x"] + "=")
                return VerificationKey(jwk["kid"], "article", x, jwk.get("orchestrator"))

            jwks = "gw/crews/article.jwks.json"
            keys = tuple(map(public_key, json.loads(Path(jwks).read_bytes())["keys"]))
            key = SigningKey.load("gw/crews/article/signing.key", keys, jwks)
            minter = Minter(CrewPolicy("article", issuer, ("search.*",)), audience, key)

        `issuer` and `tools` of the crew, and `audience`, are in the configuration.
        `Orchestrator.from_config` reads all of this by itself.

        Raises:
            ConfigurationError: The file is missing, other users can read it, it holds no Ed25519
                key, or the JWKS does not have its public key.
        """
        private = read_private_key(Path(path))
        public = private.public_key().public_bytes_raw()
        for key in keys:
            if key.public == public:
                return cls(private, key.kid, key.orchestrator)
        raise ConfigurationError(
            f"{path}: its public key is not in {where}, so gateways would refuse its tokens; "
            "add its JWK there"
        )

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self.private.public_key().public_bytes_raw()

    def jwk(self) -> dict[str, str]:
        """Return the public JWK (RFC 8037) for the crew's JWKS."""
        x = base64.urlsafe_b64encode(self.public).rstrip(b"=").decode()
        jwk = {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "alg": "EdDSA", "use": "sig"}
        jwk["x"] = x
        if self.orchestrator is not None:
            jwk["orchestrator"] = self.orchestrator
        return jwk

    def write(self, path: Path | str) -> None:
        """Write the private key as PKCS 8 PEM into a new file of mode 0600.

        Raises:
            FileExistsError: The file exists already.
            OSError: The file cannot be written.
        """
        write_private_key(self.private, Path(path))


def write_private_key(key: Ed25519PrivateKey, path: Path) -> None:
    """Write a private key as PKCS 8 PEM into a new file of mode 0600; OSError."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create_file(path, pem, 0o600)


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read the private key in a PEM file.

    Raises:
        ConfigurationError: The file is missing, other users can read it, or it holds no Ed25519
            key.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            pem = file.read(limits.key_file_bytes_max)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot read the signing key: {cause(error)}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(
            f"{path}: other users can read this signing key (mode {stat.S_IMODE(mode):04o}); "
            "chmod 600 it, and replace the key if somebody may have read it"
        )
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{path}: expected an unencrypted PKCS 8 PEM of an Ed25519 private key, as "
            "`openssl genpkey -algorithm ed25519` writes it"
        )
    return private
