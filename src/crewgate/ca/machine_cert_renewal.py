"""Decides when a certificate of this machine is due for renewal, and replaces its file.

A renewed certificate has the same key, names and identity. The file is replaced atomically, so a
reader sees the old or the new certificate, and the key file fits both. All functions block.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from crewgate import limits
from crewgate.ca.authority import Authority
from crewgate.ca.certificates import is_issued, pem
from crewgate.ca.key_files import read_certificates, read_file, read_key, write_file
from crewgate.config import CAConfig, Config
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import CAError


class CertificateFiles(NamedTuple):
    """The files of a certificate (PEM, chain included) and its key; `by` names its user."""

    certificate: Path
    key: Path
    by: str = ""


class CertificateLifetime(NamedTuple):
    """The begin and the end of a certificate (seconds since the epoch)."""

    begin: float
    end: float

    @classmethod
    def of(cls, leaf: x509.Certificate) -> "CertificateLifetime":
        """Return the lifetime of a certificate."""
        return cls(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())

    def is_due(self, now: float) -> bool:
        """Return whether it is time to renew, because it is old or because it is ahead.

        Its age counts from when the CA signed it, which is later than its backdated begin.
        """
        issued = self.begin + limits.certificate_backdate_seconds
        is_old = now >= issued + (self.end - issued) * limits.renewal_share
        return is_old or self.is_ahead(now)

    def is_ahead(self, now: float) -> bool:
        """Return whether it begins in the future, so clients refuse it.

        The CA's clock was ahead when it signed. The leeway allows for small clock differences.
        """
        return self.begin > now + limits.leeway_seconds

    def ends_soon(self, now: float) -> bool:
        """Return whether to warn a person that nobody has renewed it."""
        left = self.end - now
        return left < min(limits.certificate_warning_days * 86_400, (self.end - self.begin) / 3)


def shown_certificates(config: Config) -> list[CertificateFiles]:
    """Return all certificates that this machine presents to others, each file once."""
    found: dict[Path, CertificateFiles] = {}
    for each in shown_files(config):
        found.setdefault(each.certificate, each)
    return list(found.values())


def shown_files(config: Config) -> Iterator[CertificateFiles]:
    """Yield each certificate and key that this machine presents, once for each user of them."""
    for listener in config.listeners:
        yield CertificateFiles(listener.certificate, listener.key, f"listener {listener.name}")
    servers = (config.control, "the control API"), (config.ui, "the live page")
    for section, name in (*servers, (config.cluster, "[cluster]")):
        if section is not None and section.certificate and section.key:
            yield CertificateFiles(section.certificate, section.key, name)
    for server in (config.remote, config.ca and config.ca.ocsp):
        if server and server.certificate and server.key:
            yield CertificateFiles(server.certificate, server.key, "[ca], as a client")
    for upstream in config.upstreams:
        if upstream.tls.certificate and upstream.tls.key:
            by = f"upstream {upstream.name}, as a client"
            yield CertificateFiles(upstream.tls.certificate, upstream.tls.key, by)
    receivers = [(f"export {each.name}", each.tls) for each in config.exports]
    receivers += [(f"alert {each.name}", each.tls) for each in config.alerts]
    for name, tls in receivers:
        if tls.certificate and tls.key:
            yield CertificateFiles(tls.certificate, tls.key, f"{name}, as a client")


def is_ours(ca: CAConfig, leaf: x509.Certificate) -> bool:
    """Return whether our CA issued `leaf`. Raises CAError if the CA cannot be read."""
    return any(is_issued(leaf, each) for each in read_certificates(ca.issuing))


def next_chain(
    authority: Authority, leaf: x509.Certificate, now: datetime, life_seconds: int | None = None
) -> bytes:
    """Return the PEM of the certificate that renews `leaf`, and of the CA. Raises CAError.

    It also renews an expired certificate, so the caller must have the key of `leaf`. A certificate
    with a holder is in the register; the CA knows a server's only by its own signature.
    """
    entry = authority.register.find(serial_text(leaf.serial_number))
    if entry is not None and entry.pem == pem(leaf).decode():
        entry = authority.renew(entry.serial, now, life_seconds=life_seconds, late=True)
        return authority.chain(entry)
    server = authority.renew_server(leaf, now, life_seconds=life_seconds)
    return pem(server) + authority.issuing.certificate_pem


def read_pair(pair: CertificateFiles) -> x509.Certificate:
    """Return the leaf certificate. Raises CAError if the key file has another key."""
    leaf = read_certificates(pair.certificate)[0]
    if leaf.public_key() != read_key(pair.key).public_key():
        raise CAError(f"{pair.key}: not this certificate's key; put back the right key")
    return leaf


def holds_key(path: Path) -> bool:
    """Return whether a certificate file also has a private key (any PEM). Raises CAError."""
    return b"PRIVATE KEY-----" in read_file(path)


def require_no_key(path: Path) -> None:
    """Raise CAError if the file also has a private key, which a renewal would destroy."""
    if holds_key(path):
        raise CAError(
            f"{path}: not replaced, because it also has a private key; move the key into its own "
            "file, and name that file in the configuration"
        )


def put(
    path: Path,
    before: x509.Certificate,
    chain: bytes,
    now: float,
    *,
    however_long: bool = False,
) -> x509.Certificate:
    """Replace the certificate `before` in its file with `chain` (PEM); return the new leaf.

    The new certificate must have the same key, be valid at `now` (seconds since the epoch) and end
    later. It may end earlier if `however_long` is set, or if `before` begins in the future. Raises
    CAError, also if the file has a private key or no longer has `before`.
    """
    leaf = x509.load_pem_x509_certificates(chain)[0]
    if leaf.public_key() != before.public_key():
        raise CAError(f"{path}: not replaced, because the new certificate is for another key")
    new, old = CertificateLifetime.of(leaf), CertificateLifetime.of(before)
    if new.is_ahead(now) or now >= new.end:
        raise CAError(
            f"{path}: not replaced, because the new certificate is not valid now; set the clock "
            "of this machine, or of the machine that has the CA's key"
        )
    if not (new.end > old.end or old.is_ahead(now) or however_long):
        raise CAError(
            f"{path}: not replaced, because the new certificate would not end later; check when "
            "the CA's own certificate ends"
        )
    # A symbolic link to the file stays a link.
    place = path.resolve()
    if read_certificates(place)[0] != before:
        raise CAError(f"{path}: not replaced, because the file has changed meanwhile")
    require_no_key(place)
    status = place.stat()
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    write_file(place, chain, status.st_mode & 0o777, replace=True, owner=owner)
    return leaf
