"""The issuing CA at work: signs leaves for identities, revokes them, publishes the CRL.

Decides no right: who may have which certificate is for the caller, a person with the CA's key at
hand or the control API. Every certificate is in the register before it is in anybody's hands, and a
revocation is there before it is anywhere else. Blocks.
"""

import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.ca.certificates import (
    CertificateValidity,
    IssuedCertificate,
    is_issued,
    make_issuing,
    make_leaf,
    make_next_server,
    make_root,
    pem,
)
from crewgate.ca.crl_file import KEY_COMPROMISE, REASONS, CRLFile, make_crl
from crewgate.ca.key_files import (
    PRIVATE,
    PUBLIC,
    key_pem,
    locked,
    read_certificates,
    read_key,
    write_file,
)
from crewgate.config import CAConfig
from crewgate.core.x509.certificate import read, serial_text
from crewgate.core.x509.identity import INSTANCE_BYTES, Identity, Role
from crewgate.errors import AuthorityError, CRLPublishError


def new_instance() -> bytes:
    """The id of a process that is about to get its first certificate."""
    return secrets.token_bytes(INSTANCE_BYTES)


def create(ca: CAConfig, now: datetime) -> None:
    """Make a root and an issuing CA in `ca.folder`, with an empty register and its first CRL.

    AuthorityError if there is a CA already, or a file cannot be written. What was interrupted is
    begun anew; a CA that has published a list stays, although its keys may be on another machine.
    """
    passphrase = read_passphrase(ca)
    with locked(ca.folder / "create.lock"):
        for path in (ca.issuing_key, ca.crl):
            if path.exists():
                raise AuthorityError(f"{path}: there is a CA already, and it is not overwritten")
        root = make_root(now)
        issuing = make_issuing(root, now)
        write_file(ca.root_key, key_pem(root.key, passphrase), PRIVATE, replace=True)
        write_file(ca.root, pem(root.certificate), PUBLIC, replace=True)
        write_file(ca.issuing, pem(issuing.certificate), PUBLIC, replace=True)
        CertificateDB(ca.register, is_new=True).close()
        write_file(ca.issuing_key, key_pem(issuing.key, passphrase), PRIVATE)
        with Authority(ca) as authority:
            authority.publish(now)


def has_key(ca: CAConfig) -> bool:
    """Whether the issuing CA's key is on this machine, where this process may look."""
    return os.path.exists(ca.issuing_key)  # noqa: PTH110 - no error for a folder of another user


def read_passphrase(ca: CAConfig) -> bytes | None:
    """The passphrase of the CA's keys, without the end of its line; AuthorityError."""
    if ca.passphrase_file is None:
        return None
    try:
        passphrase = ca.passphrase_file.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise AuthorityError(
            f"{ca.passphrase_file}: the CA's passphrase cannot be read ({error.strerror})"
        ) from error
    if not passphrase:
        raise AuthorityError(f"{ca.passphrase_file}: the CA's passphrase is empty; put it there")
    return passphrase


def read_request(data: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a CSR of PEM whose signature proves that its sender has it; AuthorityError.

    What else it says is not read: whom it speaks for is for the CA to say.
    """
    if len(data) > limits.request_pem_bytes_max:
        raise AuthorityError(f"a certificate request over {limits.request_pem_bytes_max} bytes")
    try:
        request = x509.load_pem_x509_csr(data)
        is_signed = request.is_signature_valid
        public = request.public_key()
    except Exception as error:  # UnsupportedAlgorithm is no ValueError
        raise AuthorityError("not a certificate request of PEM (RFC 2986)") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise AuthorityError("the request's key is not ECDSA P-256; make one of that curve")
    if not is_signed:
        raise AuthorityError("the request is not signed by its own key; make it anew")
    return public


class Authority:
    """The issuing CA of a configuration; use it in a `with`, in one thread at a time."""

    def __init__(self, ca: CAConfig) -> None:
        """Read key and certificates, open the register. AuthorityError."""
        self._ca = ca
        certificate = read_certificates(ca.issuing)[0]
        key = read_key(ca.issuing_key, read_passphrase(ca))
        if key.public_key() != certificate.public_key():
            raise AuthorityError(
                f"{ca.issuing_key}: not the key of {ca.issuing}; put back the one that is"
            )
        self.issuing = IssuedCertificate(certificate, key)
        self.register = CertificateDB(ca.register)
        self._listed = CRLFile(ca.crl)

    def __repr__(self) -> str:
        return f"<Authority {self.issuing.certificate.subject.rfc4514_string()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the register."""
        self.register.close()

    def chain(self, entry: CertificateRecord) -> bytes:
        """PEM of a leaf and of the issuing CA, as servers and clients send it."""
        return entry.pem.encode() + pem(self.issuing.certificate)

    def issue(
        self,
        identity: Identity,
        public: ec.EllipticCurvePublicKey,
        now: datetime,
        *,
        life_seconds: int | None = None,
        hosts: Sequence[x509.GeneralName] = (),
        after: str = "",
    ) -> CertificateRecord:
        """Sign a leaf; AuthorityError for an identity or a life that cannot be.

        A gateway that signs revocations is known to others by its name: nobody gets that of another
        key while a certificate of it is good. `after` is the serial of the one that it follows, if
        any, which must not have been revoked.
        """
        life = self._ca.life_seconds if life_seconds is None else life_seconds
        most = _life_max(identity)
        if not 0 < life <= most:
            raise AuthorityError(
                f"a life of {life} seconds: expected 1 to {most}, which are {most // 3600} hours"
            )
        if hosts and identity.role is not Role.GATEWAY:
            raise AuthorityError("names and addresses are for a gateway's certificate")
        until = self.issuing.certificate.not_valid_after_utc
        validity = CertificateValidity.of(now, timedelta(seconds=life), until=until)
        if validity.end <= now:
            raise AuthorityError("the issuing CA's own certificate has ended; make a new CA")
        if identity.key:
            self._refuse_twins(identity, now)
        domain = self._ca.trust_domain
        try:
            leaf = make_leaf(self.issuing, public, identity, domain, validity, hosts)
        except ValueError as error:
            raise AuthorityError(str(error)) from error
        entry = CertificateRecord(
            serial=serial_text(leaf.serial_number),
            role=identity.role,
            crew=identity.crew,
            name=identity.name,
            instance=identity.instance,
            not_before=int(leaf.not_valid_before_utc.timestamp()),
            not_after=int(leaf.not_valid_after_utc.timestamp()),
            issued=int(now.timestamp()),
            pem=pem(leaf).decode(),
        )
        self.register.add(entry, after=after)
        return entry

    def renew(
        self, serial: str, now: datetime, *, life_seconds: int | None = None, late: bool = False
    ) -> CertificateRecord:
        """Sign the next one for the key and identity of one that is good; AuthorityError.

        A gateway's lives as long as the one before, unless another life is asked for. `late`: one
        that has ended is good enough, for its key is on the machine that has the CA's.
        """
        before = self.register.find(serial)
        good = {"valid", "expired"} if late else {"valid"}
        if before is None or before.status(now.timestamp()) not in good:
            what = f"is {before.status(now.timestamp())}" if before else "was not issued here"
            raise AuthorityError(f"certificate {serial} {what}, so it is not renewed: issue one")
        leaf = x509.load_pem_x509_certificate(before.pem.encode())
        public = leaf.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise AuthorityError(f"certificate {serial} has a key of another kind")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [name for name in names if not isinstance(name, x509.UniformResourceIdentifier)]
        identity = identity_of(before)
        if life_seconds is None and identity.role is Role.GATEWAY:
            life_seconds = before.not_after - before.issued
        return self.issue(
            identity, public, now, life_seconds=life_seconds, hosts=hosts, after=before.serial
        )

    def renew_server(
        self, before: x509.Certificate, now: datetime, *, life_seconds: int | None = None
    ) -> x509.Certificate:
        """Sign the next one of a server's certificate, for the same key and names; AuthorityError.

        A server's certificate names no holder, so the register does not have it: only the signature
        says that this CA made it. It lives as long as the one before, unless `life_seconds` is
        given.
        """
        serial = serial_text(before.serial_number)
        if not is_issued(before, self.issuing.certificate):
            raise AuthorityError(
                f"certificate {serial} is not of this CA; renew it where it was made, or make one "
                "with `crewgate ca issue --role gateway`"
            )
        most = limits.gateway_life_seconds_max
        if life_seconds is None:
            issued = before.not_valid_before_utc + timedelta(
                seconds=limits.certificate_backdate_seconds
            )
            life_seconds = min(int((before.not_valid_after_utc - issued).total_seconds()), most)
        if not 0 < life_seconds <= most:
            raise AuthorityError(
                f"a life of {life_seconds} seconds: expected 1 to {most}, which are "
                f"{most // 3600} hours"
            )
        until = self.issuing.certificate.not_valid_after_utc
        validity = CertificateValidity.of(now, timedelta(seconds=life_seconds), until=until)
        if validity.end <= now:
            raise AuthorityError("the issuing CA's own certificate has ended; make a new CA")
        try:
            return make_next_server(self.issuing, before, validity)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise AuthorityError(f"certificate {serial} is not renewed: {error}") from error

    def _refuse_twins(self, identity: Identity, now: datetime) -> None:
        """AuthorityError where another gateway of this name signs with another key."""
        for entry in self.register.of("", identity.name, int(now.timestamp())):
            key = identity_of(entry).key
            if entry.role is identity.role and key and key != identity.key:
                raise AuthorityError(
                    f"{identity.label}: certificate {entry.serial} of that name has another "
                    "signing key, and members are told apart by their names; choose another name, "
                    "or revoke that one first"
                )

    def revoke(self, serials: Iterable[str], reason: str, now: datetime) -> list[CertificateRecord]:
        """Revoke in the register and publish a CRL; what was good until now.

        For a compromised key, all certificates of the same life go: whoever had it may have renewed
        under a key of his own.

        Whoever calls has the table and open connections follow, and then says so to the register;
        until then the entries are `register.pending()`. CRLPublishError if only the list could not
        be written: that must follow all the same. Where the register cannot be written,
        `register.trouble` says why, and they are revoked for this process.
        """
        if reason not in REASONS:
            known = ", ".join(sorted(REASONS))
            raise AuthorityError(f"no reason {reason!r}; RFC 5280 has: {known}")
        lives = reason == KEY_COMPROMISE
        done = self.register.revoke(serials, reason, int(now.timestamp()), lives=lives)
        try:
            self.publish(now)  # also of what a crash has kept from an earlier list
        except AuthorityError as error:
            raise CRLPublishError(str(error), tuple(each.serial for each in done)) from error
        return done

    def publish(self, now: datetime) -> None:
        """Sign the list of all that is revoked, and put it where gateways read it.

        Also of what the register has not taken, if it does not take it now either. AuthorityError.
        """
        with suppress(AuthorityError):
            self.register.flush()
        # Whoever reads the register last also writes last: no older list replaces a newer one.
        with locked(self._ca.folder / "crl.lock", self._ca.register):
            number = self.register.next_crl_number(int(now.timestamp()))
            dead = self.register.dead(int(now.timestamp()))
            data = make_crl(self.issuing, dead, number, now)
            write_file(self._ca.crl, data, PUBLIC, replace=True)

    def catch_up(self, now: datetime) -> None:
        """Publish a list if the one on the disk lacks a revocation, or is no list. AuthorityError.

        It goes by the register and the file alone: the process that revoked may have died before
        it wrote the list, or the disk was full.
        """
        listed = self._listed.serials()
        if listed is None or self.register.dead_serials(int(now.timestamp())) - listed:
            self.publish(now)


def identity_of(entry: CertificateRecord) -> Identity:
    """Whom a certificate that was issued here speaks for."""
    leaf = x509.load_pem_x509_certificate(entry.pem.encode())
    return read(leaf.public_bytes(serialization.Encoding.DER)).speaks_for()


def _life_max(identity: Identity) -> int:
    """Seconds; a gateway is a server too, which clients know and nobody renews every week."""
    if identity.role is Role.GATEWAY:
        return limits.gateway_life_seconds_max
    return limits.certificate_life_seconds_max


def request_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A CSR for `key`, which says nothing but the key: what `read_request` takes."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
