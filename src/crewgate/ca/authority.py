"""The issuing CA: signs certificates for identities, revokes them, and publishes the CRL.

It does not decide who may have which certificate: its caller does, a command of a person who has
the CA's key, or the control API. Each certificate is in the register before anybody gets it, and
each revocation is in the register before it is anywhere else. All functions block.
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
    CertificateAndKey,
    CertificateValidity,
    identity_under_any_oid,
    is_issued,
    make_issuing,
    make_leaf,
    make_next_server,
    make_root,
    make_server,
    pem,
)
from crewgate.ca.crl import KEY_COMPROMISE, REASONS, make_crl, revoked_serials
from crewgate.ca.key_files import (
    PRIVATE,
    PUBLIC,
    key_pem,
    locked,
    read_certificates,
    read_key,
    write_file,
)
from crewgate.config import CAConfig, Config
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import INSTANCE_BYTES, Identity, Role
from crewgate.errors import CAError, ConfigurationError, CRLPublishError
from crewgate.runtime.cached_file import CachedFile
from crewgate.runtime.secret_file import unreadable


def new_instance() -> bytes:
    """Return a random instance id, for a process that will get its first certificate."""
    return secrets.token_bytes(INSTANCE_BYTES)


def create(ca: CAConfig, now: datetime) -> None:
    """Make a root and an issuing CA in `ca.folder`, with an empty register and its first CRL.

    Starts again if an earlier call was interrupted. Raises CAError if there is a CA already
    (its CRL is enough: the keys may be on another machine), or if a file cannot be written.
    """
    passphrase = read_passphrase(ca)
    with locked(ca.folder / "create.lock"):
        for path in (ca.issuing_key, ca.crl):
            if path.exists():
                raise CAError(f"{path}: a CA exists already; Crewgate does not overwrite it")
        root = make_root(now)
        issuing = make_issuing(root, now)
        write_file(ca.root_key, key_pem(root.key, passphrase), PRIVATE, replace=True)
        write_file(ca.root, pem(root.certificate), PUBLIC, replace=True)
        write_file(ca.issuing, pem(issuing.certificate), PUBLIC, replace=True)
        CertificateDB(ca.register, is_new=True).close()
        write_file(ca.issuing_key, key_pem(issuing.key, passphrase), PRIVATE)
        with Authority(ca) as authority:
            authority.publish(now)


def configured_ca(config: Config) -> CAConfig:
    """Return the CA of a configuration. Raises ConfigurationError if it has none."""
    if config.ca is None:
        raise ConfigurationError(
            f"{config.path}: there is no [ca]; add the section with its trust_domain"
        )
    return config.ca


def has_key(ca: CAConfig) -> bool:
    """Return whether this process sees the issuing CA's key on this machine."""
    return os.path.exists(ca.issuing_key)  # noqa: PTH110 - no error for a folder of another user


def read_passphrase(ca: CAConfig) -> bytes | None:
    """Return the passphrase of the CA's keys without its line end; None if none is configured.

    Raises CAError if the file cannot be read or is empty.
    """
    if ca.passphrase_file is None:
        return None
    try:
        passphrase = ca.passphrase_file.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        why = unreadable(ca.passphrase_file, error)
        raise CAError(f"the CA's passphrase cannot be read from `passphrase_file`: {why}") from None
    if not passphrase:
        raise CAError(
            f"{ca.passphrase_file}: this file must hold the CA's passphrase, but it is empty"
        )
    return passphrase


def read_request(data: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a CSR (PEM, RFC 2986), whose signature proves its possession.

    Ignores all other fields of the CSR: the CA decides about the identity. Raises CAError.
    """
    if len(data) > limits.request_pem_bytes_max:
        raise CAError(
            f"the certificate request is larger than {limits.request_pem_bytes_max} bytes"
        )
    try:
        request = x509.load_pem_x509_csr(data)
        is_signed = request.is_signature_valid
        public = request.public_key()
    except Exception as error:  # UnsupportedAlgorithm is not a ValueError
        raise CAError("not a certificate request in PEM (RFC 2986)") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise CAError("the request's key is not ECDSA P-256; make a P-256 key")
    if not is_signed:
        raise CAError("the request is not signed with its own key; make a new request")
    return public


class Authority:
    """The issuing CA of a configuration. Use it in a `with`, and in one thread at a time."""

    def __init__(self, ca: CAConfig) -> None:
        """Read the key and the certificate, and open the register. Raises CAError."""
        self._ca = ca
        self._oids = ca.identity_oids
        certificate = read_certificates(ca.issuing)[0]
        key = read_key(ca.issuing_key, read_passphrase(ca))
        if key.public_key() != certificate.public_key():
            raise CAError(f"{ca.issuing_key}: not the key of {ca.issuing}; put back the right key")
        self.issuing = CertificateAndKey(certificate, key)
        self.register = CertificateDB(ca.register)
        self._crl = CachedFile(ca.crl, revoked_serials)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the register."""
        self.register.close()

    def chain(self, entry: CertificateRecord) -> bytes:
        """Return the PEM of a leaf and of the issuing CA, as servers and clients send it."""
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
        until: int | None = None,
    ) -> CertificateRecord:
        """Sign a leaf certificate for `identity` and write it into the register.

        It ends at `until` (seconds since the epoch) at the latest. The certificate of a branch
        needs that: it ends with the token of the branch.

        `after` is the serial of the certificate that this one renews, if any; it must not be
        revoked. Cluster members know a gateway that signs revocations by its name, so two valid
        certificates of one name never have different signing keys. Raises CAError.
        """
        life = self._ca.life_seconds if life_seconds is None else life_seconds
        if identity.role is Role.AGENT:
            life = min(life, limits.token_lifetime_seconds_max)
        if until is None and identity.role is Role.AGENT:
            raise CAError("the certificate of a branch ends with its token; show the newest token")
        validity = self._validity(now, life, _life_max(identity), until)
        if hosts and identity.role is not Role.GATEWAY:
            raise CAError("only a gateway's certificate has host names and addresses")
        if identity.key:
            self._refuse_other_key(identity, now)
        domain = self._ca.trust_domain
        try:
            leaf = make_leaf(
                self.issuing, public, identity, domain, validity, hosts, oid=self._oids.written
            )
        except ValueError as error:
            raise CAError(str(error)) from error
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
        """Sign a new certificate for the key and the identity of the certificate `serial`.

        The new lifetime of a gateway's certificate is that of the previous one, unless
        `life_seconds` is given. `late` also renews an expired certificate: only for a caller that
        has its key. Raises CAError.
        """
        before = self.register.find(serial)
        renewable = {"valid", "expired"} if late else {"valid"}
        if before is None or before.status(now.timestamp()) not in renewable:
            what = f"is {before.status(now.timestamp())}" if before else "was not issued here"
            raise CAError(f"certificate {serial} {what} and cannot be renewed; issue a new one")
        leaf = x509.load_pem_x509_certificate(before.pem.encode())
        public = leaf.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise CAError(f"certificate {serial} cannot be renewed: its key is not ECDSA")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [name for name in names if not isinstance(name, x509.UniformResourceIdentifier)]
        identity = identity_of(before)
        if identity.role is Role.AGENT:
            raise CAError(
                f"certificate {serial} is that of a branch and cannot be renewed; issue the next "
                "one with the newest token of the branch"
            )
        if life_seconds is None and identity.role is Role.GATEWAY:
            life_seconds = before.not_after - before.issued
        return self.issue(
            identity, public, now, life_seconds=life_seconds, hosts=hosts, after=before.serial
        )

    def issue_server(
        self,
        hosts: Sequence[x509.GeneralName],
        now: datetime,
        life_seconds: int = limits.gateway_life_seconds_max,
    ) -> CertificateAndKey:
        """Make a server's key, and sign its certificate, which names hosts and no holder.

        The CA cannot revoke the certificate, because it is not in the register. Raises CAError.
        """
        self._validity(now, life_seconds, limits.gateway_life_seconds_max)
        return make_server(self.issuing, hosts, now, life_seconds)

    def renew_server(
        self, before: x509.Certificate, now: datetime, *, life_seconds: int | None = None
    ) -> x509.Certificate:
        """Sign a server's next certificate, for the same key and names. Raises CAError.

        A server's certificate names no holder and is not in the register, so only the signature
        proves that this CA issued it. Its lifetime is the previous one, unless `life_seconds` is
        given.
        """
        serial = serial_text(before.serial_number)
        if not is_issued(before, self.issuing.certificate):
            raise CAError(
                f"another CA issued certificate {serial}; renew it there, or make a new one "
                "with `crewgate ca issue --role server`"
            )
        max_seconds = limits.gateway_life_seconds_max
        if life_seconds is None:
            issued = before.not_valid_before_utc + timedelta(
                seconds=limits.certificate_backdate_seconds
            )
            life_seconds = int((before.not_valid_after_utc - issued).total_seconds())
            life_seconds = min(life_seconds, max_seconds)
        validity = self._validity(now, life_seconds, max_seconds)
        try:
            return make_next_server(self.issuing, before, validity, self._oids)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise CAError(f"certificate {serial} cannot be renewed: {error}") from error

    def _validity(
        self, now: datetime, seconds: int, max_seconds: int, until: int | None = None
    ) -> CertificateValidity:
        """Return the validity of a new certificate. Raises CAError if there can be none."""
        if until is not None:
            seconds = min(seconds, until - int(now.timestamp()))
            if seconds <= 0:
                raise CAError("the token of the branch has expired; refresh it first")
        if not 0 < seconds <= max_seconds:
            raise CAError(
                f"a lifetime of {seconds} seconds: expected 1 to {max_seconds} "
                f"({max_seconds // 3600} hours)"
            )
        last = self.issuing.certificate.not_valid_after_utc
        validity = CertificateValidity.of(now, timedelta(seconds=seconds), until=last)
        if validity.end <= now:
            raise CAError("the issuing CA's own certificate has expired; make a new CA")
        return validity

    def _refuse_other_key(self, identity: Identity, now: datetime) -> None:
        """Raise CAError if a valid certificate of this name has another signing key."""
        for entry in self.register.of("", identity.name, int(now.timestamp())):
            key = identity_of(entry).key
            if entry.role is identity.role and key and key != identity.key:
                raise CAError(
                    f"{identity.label}: certificate {entry.serial} has this name and another "
                    "signing key, but each cluster member needs its own name; choose another "
                    "name, or revoke that certificate first"
                )

    def revoke(self, serials: Iterable[str], reason: str, now: datetime) -> list[CertificateRecord]:
        """Revoke certificates in the register, publish a CRL, and return what it revoked.

        For a compromised key it revokes all certificates of the same instance: an attacker with
        the key may have renewed the certificate for a key of its own.

        Afterwards the caller has the agent revoke them (table, open connections) and reports that
        with `register.announced`; until then `register.pending()` has the entries. If the register
        cannot be written, they are revoked in this process, and `register.unwritten_reason` says
        why.

        Raises:
            CRLPublishError: The register has the revocations, but the CRL cannot be written. The
                caller must have the agent revoke them all the same.
            CAError: The reason is unknown, or the register cannot be read.
        """
        if reason not in REASONS:
            known = ", ".join(sorted(REASONS))
            raise CAError(f"unknown revocation reason {reason!r}; expected one of: {known}")
        done = self.register.revoke(
            serials, reason, int(now.timestamp()), whole_instances=reason == KEY_COMPROMISE
        )
        try:
            # Even if nothing is new: after a crash the CRL may lack an earlier revocation.
            self.publish(now)
        except CAError as error:
            raise CRLPublishError(str(error), tuple(each.serial for each in done)) from error
        return done

    def publish(self, now: datetime) -> None:
        """Sign a CRL of all revoked certificates, and write it where gateways read it.

        It includes revocations that the register cannot store yet. Raises CAError.
        """
        with suppress(CAError):
            self.register.flush()
        # Under one lock, the last reader of the register is also the last writer of the file, so
        # an older CRL never replaces a newer one.
        with locked(self._ca.folder / "crl.lock", self._ca.register):
            number = self.register.next_crl_number(int(now.timestamp()))
            revoked = self.register.dead(int(now.timestamp()))
            data = make_crl(self.issuing, revoked, number, now)
            write_file(self._ca.crl, data, PUBLIC, replace=True)

    def catch_up(self, now: datetime) -> None:
        """Publish a CRL if the file lacks a revocation or is not a CRL. Raises CAError.

        It compares the register with the file: the process that revoked may have died before it
        wrote the CRL, or the disk was full.
        """
        listed = self._crl.value()
        if listed is None or self.register.dead_serials(int(now.timestamp())) - listed:
            self.publish(now)


def identity_of(entry: CertificateRecord) -> Identity:
    """Return the identity of the holder of a certificate that this CA issued."""
    return identity_under_any_oid(x509.load_pem_x509_certificate(entry.pem.encode()))


def _life_max(identity: Identity) -> int:
    """Return the maximum lifetime in seconds; a gateway's is longer, since it is a server too."""
    if identity.role is Role.GATEWAY:
        return limits.gateway_life_seconds_max
    return limits.certificate_life_seconds_max


def request_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a CSR (PEM) for `key` without any other field, as `read_request` expects it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
