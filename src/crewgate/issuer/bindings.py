"""Makes the claim `cnf` of a token from a key or a certificate in a PEM file (RFC 7800)."""

import base64
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    load_pem_public_key,
)

from crewgate import limits
from crewgate.core.tokens.claims import Confirmation
from crewgate.core.tokens.proof import Ed25519Key, P256Key, PublicKey, thumbprint
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause

_P256_BYTES = 32  # of a coordinate


def base64url(data: bytes) -> str:
    """Return base64url text without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def binding_of_key(path: Path | str) -> Confirmation:
    """Return the binding to the key in a PEM file, for clients that send DPoP proofs (RFC 9449).

    The file has an Ed25519 or P-256 key, private or public.

    Raises:
        ConfigurationError: The file cannot be read, or has no such key.
    """
    data = _read(path)
    try:
        key = (
            load_pem_private_key(data, None).public_key()
            if b"PRIVATE KEY-----" in data
            else load_pem_public_key(data)
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{path}: not a key in PEM without a password: {error}") from error
    if isinstance(key, Ed25519PublicKey):
        return confirmation(Ed25519Key(crv="Ed25519", x=base64url(key.public_bytes_raw())))
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        numbers = key.public_numbers()
        x, y = (base64url(n.to_bytes(_P256_BYTES)) for n in (numbers.x, numbers.y))
        return confirmation(P256Key(crv="P-256", x=x, y=y))
    raise ConfigurationError(f"{path}: expected an Ed25519 or P-256 key; make one of these")


def binding_of_certificate(path: Path | str) -> Confirmation:
    """Return the binding to the first client certificate in a PEM file (RFC 8705, section 3.1).

    Raises:
        ConfigurationError: The file cannot be read, or has no certificate.
    """
    try:
        return binding_of_pem(_read(path))
    except ValueError as error:
        raise ConfigurationError(f"{path}: not a certificate in PEM: {error}") from error


def binding_of_pem(chain: bytes) -> Confirmation:
    """Return the binding to the first certificate in PEM text.

    Raises:
        ValueError: The text has no certificate.
    """
    der = x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)
    return Confirmation(x5t=base64url(hashlib.sha256(der).digest()))


def confirmation(key: PublicKey) -> Confirmation:
    """Return the binding to a public key."""
    return Confirmation(jkt=base64url(thumbprint(key)))


def binding_fields(binding: Confirmation | None) -> dict[str, str]:
    """Return the fields of a form of the control API that bind the tokens of a branch to a key."""
    if binding is None:
        return {}
    return {
        name: digest
        for name, digest in (("dpop_jkt", binding.jkt), ("x5t_s256", binding.x5t))
        if digest is not None
    }


def _read(path: Path | str) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            return stream.read(limits.key_file_bytes_max)
    except OSError as error:
        raise ConfigurationError(f"{path}: {cause(error)}") from error
