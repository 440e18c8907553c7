"""When a certificate that this machine shows is renewed, and how: same key, names and identity.

Decides by dates and by who signed it. The file is replaced in one step, so a reader has the one
before or the next one, and the key beside it fits both. Blocks.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crewgate import limits
from crewgate.ca.authority import Authority
from crewgate.ca.certificates import is_issued, pem
from crewgate.ca.key_files import read_certificates, read_file, read_key, write_file
from crewgate.config import CAConfig, Config
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import AuthorityError


class CertificatePair(NamedTuple):
    """A certificate (PEM, chain included) and its key."""

    certificate: Path
    key: Path


class OwnCertificate(NamedTuple):
    """A certificate of this machine and its key; `by` says who shows it, for people."""

    certificate: Path
    key: Path
    by: str


class CertificateLifetime(NamedTuple):
    """When a certificate begins and ends (seconds since the epoch)."""

    begin: float
    end: float

    @classmethod
    def of(cls, leaf: x509.Certificate) -> "CertificateLifetime":
        """That of a certificate."""
        return cls(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())

    def is_due(self, now: float) -> bool:
        """Whether so much of it is over that it is renewed, if it is ours; or it is ahead.

        Counted from when the CA signed it, which dates it back a little.
        """
        issued = self.begin + limits.certificate_backdate_seconds
        is_old = now >= issued + (self.end - issued) * limits.renewal_share
        return is_old or self.is_ahead(now)

    def is_ahead(self, now: float) -> bool:
        """Whether it begins later: a clock was ahead when the CA signed it, and clients refuse it.

        The leeway is that of clocks which differ a little.
        """
        return self.begin > now + limits.leeway_seconds

    def ends_soon(self, now: float) -> bool:
        """Whether to warn a person that it was not renewed."""
        left = self.end - now
        return left < min(limits.certificate_warning_days * 86_400, (self.end - self.begin) / 3)


def shown_certificates(config: Config) -> list[OwnCertificate]:
    """All certificates that this machine shows to anybody, each file once."""
    found: dict[Path, OwnCertificate] = {}
    for each in _shown_files(config):
        found.setdefault(each.certificate, each)
    return list(found.values())


def _shown_files(config: Config) -> Iterator[OwnCertificate]:
    for listener in config.listeners:
        yield OwnCertificate(listener.certificate, listener.key, f"listener {listener.name}")
    if config.control is not None:
        yield OwnCertificate(config.control.certificate, config.control.key, "the control API")
    if config.cluster is not None:
        yield OwnCertificate(config.cluster.certificate, config.cluster.key, "[cluster]")
    for asked in (config.remote, config.ca and config.ca.ocsp):
        if asked and asked.certificate and asked.key:
            yield OwnCertificate(asked.certificate, asked.key, "[ca], as a client")
    for upstream in config.upstreams:
        if upstream.tls.certificate and upstream.tls.key:
            by = f"upstream {upstream.name}, as a client"
            yield OwnCertificate(upstream.tls.certificate, upstream.tls.key, by)


def is_ours(ca: CAConfig, leaf: x509.Certificate) -> bool:
    """Whether the CA has signed it; AuthorityError if its certificate cannot be read."""
    return any(is_issued(leaf, each) for each in read_certificates(ca.issuing))


def next_chain(
    authority: Authority, leaf: x509.Certificate, now: datetime, life_seconds: int | None = None
) -> bytes:
    """PEM of the next certificate after `leaf`, and of the CA; AuthorityError.

    For a caller that has the key of `leaf`: a certificate that has ended is renewed too. One that
    names its holder is in the register; a server's is known only by its signature.
    """
    entry = authority.register.find(serial_text(leaf.serial_number))
    if entry is not None and entry.pem == pem(leaf).decode():
        entry = authority.renew(entry.serial, now, life_seconds=life_seconds, late=True)
        return authority.chain(entry)
    server = authority.renew_server(leaf, now, life_seconds=life_seconds)
    return pem(server) + authority.issuing.certificate_pem


def read_pair(pair: OwnCertificate) -> x509.Certificate:
    """The leaf, if the key in its file is that of the certificate; AuthorityError."""
    leaf = read_certificates(pair.certificate)[0]
    if not _is_same(leaf.public_key(), read_key(pair.key).public_key()):
        raise AuthorityError(f"{pair.key} is not its key; put back its own")
    return leaf


def holds_key(path: Path) -> bool:
    """Whether a certificate's file holds a private key too (PEM of any kind); AuthorityError."""
    return b"PRIVATE KEY-----" in read_file(path)


def require_no_key(path: Path) -> None:
    """AuthorityError if the next certificate in the place of this file would destroy a key."""
    if holds_key(path):
        raise AuthorityError(
            f"{path}: holds a private key too, so it is not replaced; put the key into a file of "
            "its own, and name that in the configuration"
        )


def put(
    path: Path,
    before: x509.Certificate,
    chain: bytes,
    now: float,
    *,
    however_long: bool = False,
) -> x509.Certificate:
    """Write the next certificate in the place of the one before; the new leaf. AuthorityError.

    It must be for the same key, be valid at `now` (seconds since the epoch), and end later, unless
    a person asked for it or the one before begins in the future. A file that holds a private key
    stays, and so does one that somebody has changed meanwhile.
    """
    leaf = x509.load_pem_x509_certificates(chain)[0]
    if not _is_same(leaf.public_key(), before.public_key()):
        raise AuthorityError(f"{path}: the next certificate is for another key; it is not used")
    life, was = CertificateLifetime.of(leaf), CertificateLifetime.of(before)
    if life.is_ahead(now) or now >= life.end:
        raise AuthorityError(
            f"{path}: the next certificate is not valid now, so it is not used; set the clock of "
            "this machine, or of the one that has the CA's key"
        )
    if not (life.end > was.end or was.is_ahead(now) or however_long):
        raise AuthorityError(
            f"{path}: the next certificate would end no later than the one before; how long does "
            "the CA itself live?"
        )
    place = path.resolve()  # a link stays one
    if read_certificates(place)[0] != before:
        raise AuthorityError(f"{path}: somebody has changed it meanwhile")
    require_no_key(place)
    status = place.stat()
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    write_file(place, chain, status.st_mode & 0o777, replace=True, owner=owner)
    return leaf


def _is_same(one: object, other: object) -> bool:
    return _spki(one) == _spki(other)


def _spki(key: object) -> bytes:
    data: bytes = key.public_bytes(  # type: ignore[attr-defined]  # every kind of public key has it
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return data
