"""Files of private keys and certificates: how they are written, and read with words for errors.

A key is readable by its owner from its first moment, and a file is whole or not there: what stands
there already is replaced in one step, and only where the caller says so. Keys are never shown.
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
from crewgate.errors import AuthorityError
from crewgate.runtime import durable_files
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
    """Write a file durably; AuthorityError if it stands there and is not to be replaced.

    It belongs to `owner` (uid, gid) from its first moment, else to us.
    """
    write = durable_files.write_file if replace else durable_files.create_file
    try:
        write(path, data, mode, owner=owner)
    except FileExistsError as error:
        raise AuthorityError(
            f"{path}: stands there already and is not overwritten; choose another name"
        ) from error
    except OSError as error:
        raise AuthorityError(f"{path}: cannot be written: {cause(error)}") from error


def open_lock(path: Path, like: Path) -> int:
    """Open a file to lock, and make it if it is not there; its descriptor. OSError.

    If root makes it, it belongs to the owner of `like` from its first moment: a command of root's
    must not lock out the control process, which another user may run.
    """
    if os.geteuid() == 0 and not path.exists():
        status = like.stat()
        with suppress(FileExistsError):
            owner = status.st_uid, status.st_gid
            durable_files.create_file(path, b"", PRIVATE, owner=owner)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)


@contextmanager
def locked(path: Path, like: Path | None = None) -> Iterator[None]:
    """Lock a file: every other task or process that locks it waits. AuthorityError.

    A new file belongs to the owner of `like`, by default of its folder (see `open_lock`).
    """
    try:
        descriptor = open_lock(path, like or path.parent)
    except OSError as error:
        raise AuthorityError(f"{path}: cannot be locked: {cause(error)}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """PKCS 8, encrypted where there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def read_key(path: Path, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Read a P-256 key of PEM; AuthorityError says what is wrong, and never shows it."""
    data = read_bounded(path, limits.key_file_bytes_max, "private key")
    refuse_shared(path)
    try:
        key = serialization.load_pem_private_key(data, passphrase)
    except TypeError as error:  # cryptography's, for a passphrase too few or too many
        wanted = "is encrypted; give its passphrase" if passphrase is None else "has no passphrase"
        raise AuthorityError(f"{path}: the private key {wanted}") from error
    except ValueError as error:
        raise AuthorityError(
            f"{path}: not a private key of PEM, or another passphrase is its own"
        ) from error
    return _p256(key, str(path))


def refuse_shared(path: Path) -> None:
    """AuthorityError for a private key that somebody else may have read."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise AuthorityError(f"{path}: the private key cannot be read: {cause(error)}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AuthorityError(
            f"{path}: a private key that others can read (mode {mode:04o}); chmod 600, and make "
            "a new one if they may have"
        )


def _p256(key: object, where: str) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityError(f"{where}: not an ECDSA key of curve P-256")
    return key


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read at least one certificate of PEM; AuthorityError."""
    bytes_max = limits.certificate_bytes_max * limits.chain_certificates_max
    data = read_bounded(path, bytes_max, "certificate")
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise AuthorityError(f"{path}: not a certificate of PEM") from error


def read_file(path: Path) -> bytes:
    """A small file of PEM; AuthorityError."""
    return read_bounded(path, limits.certificate_bytes_max * limits.chain_certificates_max, "file")


def read_bounded(path: Path, bytes_max: int, what: str) -> bytes:
    """A file that is as small as every `what` is; AuthorityError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(bytes_max + 1)
    except OSError as error:
        raise AuthorityError(f"{path}: the {what} cannot be read: {cause(error)}") from error
    if len(data) > bytes_max:
        raise AuthorityError(f"{path}: over {bytes_max} bytes, which no {what} has")
    return data
