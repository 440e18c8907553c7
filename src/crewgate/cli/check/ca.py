"""Checks the files of the internal CA: for gateways, and for a person who issues certificates.

Gateways refuse every certificate without a current list of revoked certificates (CRL). The checks
skip files that this user may not read: only the CA's own user may read its folder.
"""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from crewgate import limits
from crewgate.ca.authority import has_key, read_passphrase
from crewgate.ca.certificates import is_issued
from crewgate.ca.crl import is_signed_by
from crewgate.ca.key_files import read_certificates, read_key
from crewgate.config import CAConfig, Config
from crewgate.errors import CAError

MEND = (
    "where the CA's key is, `crewgate serve` signs new lists, and `crewgate ca crl` signs one; "
    "other machines get it from peers, or through `control` in [ca]"
)


def ca_errors(config: Config, now: datetime) -> Iterator[str]:
    """Yield what makes listeners or peers refuse every certificate; `now` has a time zone."""
    ca = config.ca
    asks = any(listener.client_certificate != "none" for listener in config.listeners)
    if ca is not None and (asks or (config.cluster is not None and config.cluster.peers)):
        yield from _refusals(ca, now)


def ca_warnings(config: Config, now: datetime) -> Iterator[str]:
    """Yield what will soon be an error, and what keeps `crewgate ca` from working here."""
    ca = config.ca
    if ca is None:
        return
    soon = now + timedelta(seconds=limits.crl_warning_seconds)
    if not [*ca_errors(config, now)]:
        crl = _crl(ca)
        if isinstance(crl, x509.CertificateRevocationList) and _end(crl) < soon:
            end = f"{_end(crl):%Y-%m-%d %H:%M}Z"
            yield f"{ca.crl}: ends at {end}, and then every certificate is refused; {MEND}"
    yield from _unissuing(ca)
    yield from _unrenewed(config, ca)


def _refusals(ca: CAConfig, now: datetime) -> Iterator[str]:
    root = _certificate(ca.root)
    if isinstance(root, str):
        yield f"{root}: no client certificate can be verified; `crewgate ca init` creates it"
    elif root.not_valid_after_utc < now:
        yield f"{ca.root}: ended on {root.not_valid_after_utc:%Y-%m-%d}; create a new CA"
    crl = _crl(ca)
    if isinstance(crl, str):
        yield f"{crl}: every client certificate is refused; {MEND}"
        return
    if _end(crl) < now:
        yield (
            f"{ca.crl}: stale since {_end(crl):%Y-%m-%d %H:%M}Z, so every client certificate is "
            f"refused; {MEND}"
        )
    elif crl.last_update_utc > now:
        signed = f"{crl.last_update_utc:%Y-%m-%d %H:%M}Z"
        yield f"{ca.crl}: signed at {signed}, which is in the future; set the clock"
    yield from _foreign_files(ca, root, crl)


def _foreign_files(
    ca: CAConfig, root: x509.Certificate | str, crl: x509.CertificateRevocationList
) -> Iterator[str]:
    """Yield files that belong to different CAs, as far as this user may read them."""
    issuing = _certificate(ca.issuing)
    if isinstance(issuing, str):
        return
    if not is_signed_by(crl, issuing):
        yield f"{ca.crl}: not signed by {ca.issuing}; {MEND}"
    if isinstance(root, x509.Certificate) and not is_issued(issuing, root):
        yield f"{ca.issuing}: not signed by {ca.root}; restore the files that belong together"


def _unissuing(ca: CAConfig) -> Iterator[str]:
    """Yield why nothing can be issued or revoked here, unless the CA is on another machine."""
    if not _is_readable(ca.folder) or not ca.issuing_key.exists():
        return
    try:
        key = read_key(ca.issuing_key, read_passphrase(ca))
        if key.public_key() != read_certificates(ca.issuing)[0].public_key():
            yield f"{ca.issuing_key}: not the key of {ca.issuing}; restore the matching key"
    except CAError as error:
        yield str(error)
    if not ca.register.exists():
        yield f"{ca.register}: the register is not there, so nothing can be issued; restore it"


def _unrenewed(config: Config, ca: CAConfig) -> Iterator[str]:
    """Yield a warning if nothing renews the CRL: no key of the CA here, and no other machine."""
    if has_key(ca) or not _is_known_keyless(ca) or config.remote is not None:
        return
    if config.cluster is None or not config.cluster.peers:
        yield (
            f"{ca.issuing_key}: the CA's key is not here, and the configuration names neither "
            f"`control` in [ca] nor peers: nothing renews {ca.crl}, which ends after "
            f"{limits.crl_seconds // 3600} hours"
        )


def _is_known_keyless(ca: CAConfig) -> bool:
    """Whether this user may look into the folder, and so can know that it has no key."""
    return not ca.folder.is_dir() or os.access(ca.folder, os.X_OK)


def _is_readable(folder: Path) -> bool:
    try:
        return any(True for _ in folder.iterdir())
    except OSError:
        return False


def _certificate(path: Path) -> x509.Certificate | str:
    """Return the first certificate of a file, or a text that says what is wrong with it."""
    try:
        return read_certificates(path)[0]
    except CAError as error:
        return str(error)


def _crl(ca: CAConfig) -> x509.CertificateRevocationList | str:
    try:
        with ca.crl.open("rb") as stream:
            return x509.load_pem_x509_crl(stream.read(limits.crl_bytes_max))
    except OSError as error:
        return f"{ca.crl}: the list of revoked certificates cannot be read ({error.strerror})"
    except ValueError:
        return f"{ca.crl}: not a list of revoked certificates (CRL) in PEM"


def _end(crl: x509.CertificateRevocationList) -> datetime:
    """Return the time of the next update; a list without one is stale from the beginning."""
    return crl.next_update_utc or crl.last_update_utc
