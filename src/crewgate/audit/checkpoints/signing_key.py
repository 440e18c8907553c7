"""The Ed25519 key with which a machine signs the checkpoints of its audit.

The file is an unencrypted PKCS 8 PEM (RFC 8410), as OpenSSL reads and writes it. This module needs
no large library for that: such a file has one form. No error shows a key. Blocks.
"""

import binascii
import os
import secrets
import stat
from base64 import b64decode, b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Self

from nacl.bindings import crypto_sign_seed_keypair, crypto_sign_SEEDBYTES

from crewgate import limits
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause, create_file

FILE_NAME = "audit.key"
# PrivateKeyInfo of Ed25519, up to the 32 bytes of the key (RFC 8410, section 7).
_DER = bytes.fromhex("302e020100300506032b657004220420")
_LABEL = "PRIVATE KEY"
_BEGIN, _END = f"-----BEGIN {_LABEL}-----", f"-----END {_LABEL}-----"


class CheckpointKey:
    """A key pair; `public` is its public key in base64url, without padding."""

    __slots__ = ("public", "signing")

    def __init__(self, seed: bytes) -> None:
        public, self.signing = crypto_sign_seed_keypair(seed)
        self.public = urlsafe_b64encode(public).rstrip(b"=").decode()

    @classmethod
    def load_or_make(cls, state: Path) -> Self:
        """Read the key in the state folder, or make one; its owner alone can read the file.

        Raises:
            ConfigurationError: The file is no such key, or other users can read it.
            OSError: The file cannot be written.
        """
        path = state / FILE_NAME
        if not path.exists():
            seed = secrets.token_bytes(crypto_sign_SEEDBYTES)
            pem = "\n".join([_BEGIN, b64encode(_DER + seed).decode(), _END, ""])
            try:
                create_file(path, pem.encode(), 0o600)
            except FileExistsError:
                pass  # another agent has just made it
            else:
                return cls(seed)
        return cls.load(state)

    @classmethod
    def load(cls, state: Path) -> Self:
        """Read the key in the state folder. Raises ConfigurationError."""
        path = state / FILE_NAME
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                pem = file.read(limits.key_file_bytes_max).decode("ascii", "replace").split()
        except OSError as error:
            raise ConfigurationError(
                f"{path}: cannot read the key of the audit: {cause(error)}"
            ) from None
        if mode & 0o077:
            raise ConfigurationError(
                f"{path}: other users can read the key of the audit (mode {mode:04o}); chmod 600 it"
            )
        try:
            der = b64decode("".join(pem[3:-3]) if pem[:1] == ["-----BEGIN"] else "", validate=True)
        except binascii.Error:
            der = b""
        if len(der) != len(_DER) + crypto_sign_SEEDBYTES or not der.startswith(_DER):
            raise ConfigurationError(
                f"{path}: expected an unencrypted PKCS 8 PEM of an Ed25519 key, as `openssl "
                "genpkey -algorithm ed25519` writes it"
            )
        return cls(der[len(_DER) :])
