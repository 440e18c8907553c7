"""The list of the revoked on a machine that does not sign it: judged by the CA, kept, replaced.

It does not trust the machine that hands a list over: the CA's signature says what is revoked, and
the list's number that it is newer. Knows no network. Blocks; times are seconds since the epoch.
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
from crewgate.ca.key_files import PUBLIC, locked, read_bounded, read_certificates, write_file
from crewgate.config import CAConfig
from crewgate.errors import AuthorityError

_AUTHORITY_BYTES = 8
# What `cryptography` raises for a list that somebody has made up; three are no ValueError.
_NO_LIST = (
    ValueError, TypeError, UnsupportedAlgorithm,
    x509.DuplicateExtension, x509.ExtensionNotFound, x509.UnsupportedGeneralNameType,
)  # fmt: skip
_LOCK = "list.lock"


class SignedCRL(msgspec.Struct, frozen=True):
    """A list that the CA has signed. `authority` names the key that signed it, in 8 bytes."""

    authority: bytes
    number: int  # RFC 5280 §5.2.3: of two lists of one authority the higher one is newer
    this_update: float
    next_update: float  # from then on it refuses everybody
    data: bytes  # DER

    def __repr__(self) -> str:
        return f"<SignedCRL {self.number} until {self.next_update:.0f}>"


def authorities(ca: CAConfig, chains: Sequence[Path] = ()) -> list[x509.Certificate]:
    """The certificates that may sign a list: those of `ca.issuing` and `chains` that a root signed.

    AuthorityError if the root cannot be read; any other file that cannot be read has none.
    """
    roots = read_certificates(ca.root)
    found: dict[bytes, x509.Certificate] = {}
    for path in (ca.issuing, *chains):
        try:
            shown = read_certificates(path)
        except AuthorityError:
            continue
        for each in shown:
            if _may_sign(each) and any(is_issued(each, root) for root in roots):
                found[_name(each)] = each
    return list(found.values())


def judge(data: bytes, signers: Sequence[x509.Certificate]) -> SignedCRL:
    """A list (DER) of one of `signers`; AuthorityError says why it is none."""
    if len(data) > limits.crl_bytes_max:
        raise AuthorityError(f"a list of over {limits.crl_bytes_max} bytes")
    try:
        crl = x509.load_der_x509_crl(data)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        signer = next((each for each in signers if _has_signed(each, crl)), None)
        this_update, next_update = crl.last_update_utc, crl.next_update_utc
    except _NO_LIST as error:
        raise AuthorityError("not a list of revoked certificates with a number") from error
    if signer is None:
        raise AuthorityError("a list that this CA has not signed")
    if not 0 < number <= limits.crl_number_max or next_update is None:
        raise AuthorityError("a list without a number, or without its next update")
    return SignedCRL(_name(signer), number, this_update.timestamp(), next_update.timestamp(), data)


class CachedCRL:
    """The list in `ca.crl`; the newest one that anybody hands over takes its place.

    `folder` is this machine's own, for a lock: of two that come at once the newer one stays.
    `chains` are files that may have the certificate of the issuing CA, beside `ca.issuing`.
    Any thread may use it.
    """

    def __init__(
        self, ca: CAConfig, folder: Path, chains: Sequence[Path], wall: Callable[[], float]
    ) -> None:
        self.ca = ca
        self._folder = folder
        self._chains = tuple(chains)
        self._wall = wall
        self._turn = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._found: SignedCRL | None = None

    def __repr__(self) -> str:
        return f"<CachedCRL {self._found!r}>"

    @property
    def is_signed_here(self) -> bool:
        """Whether this machine has the CA's key: then it takes no list from anybody."""
        return has_key(self.ca)

    def held(self) -> SignedCRL | None:
        """The list in the file, read again if that has changed; None for one that is no good."""
        with self._turn:
            return self._held()

    def take(self, data: bytes) -> SignedCRL | None:
        """Keep a list (DER) if it is newer than the one held; None if it is not. AuthorityError.

        One that is over protects nothing, so whatever is good takes its place: numbers may have
        begun anew where the CA's register is a restored one.
        """
        new = judge(data, authorities(self.ca, self._chains))
        now = self._wall()
        if new.this_update > now + limits.skew_max:
            raise AuthorityError(f"list {new.number} is of a time to come; set the clock")
        if new.next_update <= now:
            raise AuthorityError(f"list {new.number} is over; is the clock right?")
        pem = x509.load_der_x509_crl(data).public_bytes(Encoding.PEM)
        with self._turn, locked(self._folder / _LOCK):  # agent and control process, each with one
            held = self._held()
            if held is not None and held.next_update > now and not _is_newer(new, held):
                return None
            write_file(self.ca.crl, pem, PUBLIC, replace=True)
        return new

    def _held(self) -> SignedCRL | None:
        try:
            status = self.ca.crl.stat()
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                self._found, self._stamp = self._read(), stamp
        except OSError:
            self._found, self._stamp = None, ()
        return self._found

    def _read(self) -> SignedCRL | None:
        try:
            data = read_bounded(self.ca.crl, limits.crl_bytes_max, "list of the revoked")
            crl = x509.load_pem_x509_crl(data).public_bytes(Encoding.DER)
            return judge(crl, authorities(self.ca, self._chains))
        except (AuthorityError, ValueError):
            return None


def _is_newer(new: SignedCRL, held: SignedCRL) -> bool:
    """By number, of one authority; of another one, which has taken its place, by time."""
    if new.authority == held.authority:
        return new.number > held.number
    return new.this_update > held.this_update


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether it is a CA's whose key may sign lists (RFC 5280, section 4.2.1.3)."""
    try:
        extensions = certificate.extensions
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.ca and usage.crl_sign


def _has_signed(signer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    return crl.issuer == signer.subject and crl.is_signature_valid(
        signer.public_key()  # type: ignore[arg-type]  # TypeError of a kind that signs none
    )


def _name(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return blake2b(key, digest_size=_AUTHORITY_BYTES).digest()
