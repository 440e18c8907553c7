"""Writes and reads files of private keys and certificates, with errors for people.

From its creation, only its owner can read a private key. A write is atomic, and it replaces an
existing file only if the caller says so. No error and no log shows a key.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crewgate import limits
from crewgate.errors import CAError
from crewgate.runtime import durable_files
from crewgate.runtime.cleanup import lent
from crewgate.runtime.durable_files import cause

PRIVATE = 0o600
PUBLIC = 0o644


def write_file(
    path: Path,
    data: bytes,
    mode: int,
    *,
    replace: bool = False,
    owner: tuple[int, int] | None = None,
) -> None:
    """Write a file durably. Raises CAError if it exists and `replace` is not set.

    From its creation the file belongs to `owner` (uid, gid), by default to this process's user.
    """
    write = durable_files.write_file if replace else durable_files.create_file
    try:
        write(path, data, mode, owner=owner)
    except FileExistsError as error:
        raise CAError(
            f"{path}: the file exists already and is not overwritten; choose another name"
        ) from error
    except OSError as error:
        raise CAError(f"{path}: cannot be written: {cause(error)}") from error


def open_lock(path: Path, like: Path) -> int:
    """Open a lock file, create it if it is missing, and return its descriptor. Raises OSError.

    If root creates it, it belongs to the owner of `like` from its creation: a command that root
    runs must not lock out the control process, which may run as another user.
    """
    if os.geteuid() == 0 and not path.exists():
        status = like.stat()
        with suppress(FileExistsError):
            owner = status.st_uid, status.st_gid
            durable_files.create_file(path, b"", PRIVATE, owner=owner)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)


@contextmanager
def locked(path: Path, like: Path | None = None) -> Iterator[None]:
    """Hold the lock of a file; other tasks and processes that lock it wait. Raises CAError.

    A new file belongs to the owner of `like`, by default of its folder (see `open_lock`).
    """
    try:
        descriptor = open_lock(path, like or path.parent)
    except OSError as error:
        raise CAError(f"{path}: cannot be locked: {cause(error)}") from error
    with lent(descriptor):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return a private key in PEM (PKCS 8), encrypted if there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def read_key(path: Path, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Read a P-256 private key (PEM). CAError says what is wrong and never shows the key."""
    data = read_bounded(path, limits.key_file_bytes_max, "private key")
    refuse_shared(path)
    try:
        key = serialization.load_pem_private_key(data, passphrase)
    # `cryptography` raises TypeError for a missing or a superfluous passphrase.
    except TypeError as error:
        if passphrase is None:
            why = "is encrypted, but there is no passphrase for it"
        else:
            why = "is not encrypted, but there is a passphrase for it"
        raise CAError(f"{path}: the private key {why}") from error
    except ValueError as error:
        raise CAError(f"{path}: not a private key in PEM, or the passphrase is wrong") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CAError(f"{path}: not an ECDSA key on curve P-256")
    return key


def refuse_shared(path: Path) -> None:
    """Raise CAError if other users can read a private key."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise CAError(f"{path}: the private key cannot be read: {cause(error)}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CAError(
            f"{path}: other users can read this private key (mode {mode:04o}); run `chmod 600`, "
            "and make a new key if somebody may have read it"
        )


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read the certificates (PEM, at least one) of a file. Raises CAError."""
    bytes_max = limits.certificate_bytes_max * limits.chain_certificates_max
    data = read_bounded(path, bytes_max, "certificate")
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CAError(f"{path}: not a certificate in PEM") from error


def read_file(path: Path) -> bytes:
    """Read a small PEM file. Raises CAError."""
    return read_bounded(path, limits.certificate_bytes_max * limits.chain_certificates_max, "file")


def read_bounded(path: Path, bytes_max: int, what: str) -> bytes:
    """Read a file of at most `bytes_max` bytes; errors call it `what`. Raises CAError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(bytes_max + 1)
    except OSError as error:
        raise CAError(f"{path}: the {what} cannot be read: {cause(error)}") from error
    if len(data) > bytes_max:
        raise CAError(f"{path}: larger than {bytes_max} bytes, so it is not a {what}")
    return data
