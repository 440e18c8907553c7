"""Verifies and keeps the newest CRL on a machine that does not have the CA's key.

It trusts no machine that sends a CRL: the CA's signature proves the content, and the CRL number
shows which CRL is newer. Does no network I/O. All functions block; times are seconds since the
epoch.
"""

import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crewgate import limits
from crewgate.ca.authority import has_key
from crewgate.ca.certificates import is_issued
from crewgate.ca.crl import is_signed_by
from crewgate.ca.key_files import PUBLIC, locked, read_bounded, read_certificates, write_file
from crewgate.config import CAConfig
from crewgate.errors import CAError
from crewgate.runtime.cached_file import CachedFile

_AUTHORITY_BYTES = 8
# What `cryptography` raises for a malformed CRL; not all of them are ValueErrors.
_MALFORMED = (
    ValueError, TypeError, UnsupportedAlgorithm,
    x509.DuplicateExtension, x509.ExtensionNotFound, x509.UnsupportedGeneralNameType,
)  # fmt: skip
_LOCK = "list.lock"


class SignedCRL(msgspec.Struct, frozen=True):
    """A CRL (DER in `data`) that the CA signed.

    `authority` identifies the signing key (8 bytes). Among CRLs of one key, the one with the higher
    `number` is newer (RFC 5280, section 5.2.3). After `next_update` a gateway refuses every client.
    """

    authority: bytes
    number: int
    this_update: float
    next_update: float
    data: bytes


def authorities(ca: CAConfig, chains: Sequence[Path] = ()) -> list[x509.Certificate]:
    """Return the certificates in `ca.issuing` and `chains` that may sign CRLs and a root signed.

    Raises CAError if the root cannot be read; skips any other unreadable file.
    """
    roots = read_certificates(ca.root)
    found: dict[bytes, x509.Certificate] = {}
    for path in (ca.issuing, *chains):
        try:
            certificates = read_certificates(path)
        except CAError:
            continue
        for each in certificates:
            if _may_sign(each) and any(is_issued(each, root) for root in roots):
                found[_key_id(each)] = each
    return list(found.values())


def judge(data: bytes, signers: Sequence[x509.Certificate]) -> SignedCRL:
    """Verify a CRL (DER) by one of `signers`. CAError says what is wrong with it."""
    if len(data) > limits.crl_bytes_max:
        raise CAError(f"the CRL is larger than {limits.crl_bytes_max} bytes")
    try:
        crl = x509.load_der_x509_crl(data)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        signer = next((each for each in signers if is_signed_by(crl, each)), None)
        this_update, next_update = crl.last_update_utc, crl.next_update_utc
    except _MALFORMED as error:
        raise CAError("not a CRL with a CRL number") from error
    if signer is None:
        raise CAError("the CRL is not signed by this CA")
    if not 0 < number <= limits.crl_number_max or next_update is None:
        raise CAError("the CRL has no valid number, or no next update")
    return SignedCRL(
        _key_id(signer), number, this_update.timestamp(), next_update.timestamp(), data
    )


class CRLReplica:
    """The CRL in the file `ca.crl`, which `take` replaces with a newer one. Thread-safe.

    `folder` is of this machine alone; it holds the lock that keeps the newer of two CRLs that
    arrive at once. `chains` are more files, besides `ca.issuing`, that may have the certificate of
    the issuing CA.
    """

    def __init__(
        self, ca: CAConfig, folder: Path, chains: Sequence[Path], wall: Callable[[], float]
    ) -> None:
        self.ca = ca
        self._folder = folder
        self._chains = tuple(chains)
        self._wall = wall
        self._lock = threading.Lock()
        self._file = CachedFile(ca.crl, self._read)

    @property
    def is_signed_here(self) -> bool:
        """Whether this machine has the CA's key; then it must not take a CRL from others."""
        return has_key(self.ca)

    def held(self) -> SignedCRL | None:
        """Return the CRL in the file, read again after a change; None if it is not valid."""
        with self._lock:
            return self._file.value()

    def take(self, data: bytes) -> SignedCRL | None:
        """Write a CRL (DER) into the file if it is newer than the held one; else return None.

        A valid CRL always replaces an expired one, even with a lower number: numbers may start
        again if the CA's register was restored. Raises CAError for an invalid CRL.
        """
        new = judge(data, authorities(self.ca, self._chains))
        now = self._wall()
        if new.this_update > now + limits.skew_max:
            raise CAError(f"CRL {new.number} is from the future; set the clock")
        if new.next_update <= now:
            raise CAError(f"CRL {new.number} has expired; check the clock")
        pem = x509.load_der_x509_crl(data).public_bytes(Encoding.PEM)
        # The agent and the control process may each have received one.
        with self._lock, locked(self._folder / _LOCK):
            held = self._file.value()
            if held is not None and held.next_update > now and not _is_newer(new, held):
                return None
            write_file(self.ca.crl, pem, PUBLIC, replace=True)
        return new

    def _read(self, path: Path) -> SignedCRL | None:
        try:
            data = read_bounded(path, limits.crl_bytes_max, "CRL")
            crl = x509.load_pem_x509_crl(data).public_bytes(Encoding.DER)
            return judge(crl, authorities(self.ca, self._chains))
        except (CAError, ValueError):
            return None


def _is_newer(new: SignedCRL, held: SignedCRL) -> bool:
    """Compare by number; if another key signs now, the numbers do not compare, so by time."""
    if new.authority == held.authority:
        return new.number > held.number
    return new.this_update > held.this_update


def _may_sign(certificate: x509.Certificate) -> bool:
    """Return whether it is a CA certificate whose key may sign CRLs (RFC 5280, section 4.2.1.3)."""
    try:
        extensions = certificate.extensions
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.ca and usage.crl_sign


def _key_id(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return blake2b(key, digest_size=_AUTHORITY_BYTES).digest()
