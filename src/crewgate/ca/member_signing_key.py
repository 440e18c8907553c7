"""Reads and makes the Ed25519 key with which a gateway signs its revocations.

It is not the TLS key: it stays the same when the certificate is renewed, and the certificate has
its public half (core/x509/identity_extension.py). The files of public halves are read too: a
machine without the CA's key sends only that half to be certified.
"""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from crewgate import limits
from crewgate.ca.key_files import PRIVATE, read_bounded, refuse_shared, write_file
from crewgate.errors import CAError

_PUBLIC = b"-----BEGIN PUBLIC KEY-----"  # RFC 7468, section 13


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read the private key. CAError says what is wrong and never shows the key."""
    data = read_bounded(path, limits.key_file_bytes_max, "signing key")
    refuse_shared(path)
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise CAError(
            f"{path}: expected an unencrypted Ed25519 private key in PEM (PKCS 8), as `openssl "
            "genpkey -algorithm ed25519` writes it"
        )
    return key


def write_signing_key(path: Path) -> bytes:
    """Write a new private key into a new file; return its public half. Raises CAError."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_file(path, pem, PRIVATE)
    return key.public_key().public_bytes_raw()


def public_half(path: Path) -> bytes:
    """Return the public half (32 bytes) of a private or public key file. Raises CAError."""
    data = read_bounded(path, limits.key_file_bytes_max, "signing key")
    if not data.lstrip().startswith(_PUBLIC):
        return read_signing_key(path).public_key().public_bytes_raw()
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise CAError(f"{path}: expected an Ed25519 public key in PEM")
    return key.public_bytes_raw()


def certified_half(path: Path) -> bytes:
    """Return `public_half` of a file; make the key if there is no file. Raises CAError."""
    return public_half(path) if os.path.lexists(path) else write_signing_key(path)
