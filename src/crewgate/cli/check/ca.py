"""Whether the files of the internal CA can be used, by gateways and by whoever issues here.

Gateways refuse everybody without a fresh list of the revoked. What this user may not read is passed
over: the CA's folder is for its own user alone.
"""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from crewgate import limits
from crewgate.ca.authority import has_key, read_passphrase
from crewgate.ca.certificates import is_issued
from crewgate.ca.key_files import read_certificates, read_key
from crewgate.config import CAConfig, Config
from crewgate.errors import AuthorityError

MEND = (
    "`crewgate serve` signs it anew where the CA's key is, and `crewgate ca crl` does once; to "
    "other machines peers bring it, or `control` in [ca]"
)


def ca_problems(config: Config, now: datetime) -> Iterator[str]:
    """What makes listeners or peers refuse every certificate; `now` with a time zone."""
    ca = config.ca
    asks = any(listener.client_certificate != "none" for listener in config.listeners)
    if ca is not None and (asks or (config.cluster is not None and config.cluster.peers)):
        yield from _refusals(ca, now)


def ca_oddities(config: Config, now: datetime) -> Iterator[str]:
    """What will do so soon, and what keeps `crewgate ca` from working here."""
    ca = config.ca
    if ca is None:
        return
    soon = now + timedelta(seconds=limits.crl_warning_seconds)
    if not [*ca_problems(config, now)]:
        crl = _crl(ca)
        if isinstance(crl, x509.CertificateRevocationList) and _end(crl) < soon:
            yield f"{ca.crl}: refuses everybody from {_end(crl):%Y-%m-%d %H:%M}Z on; {MEND}"
    yield from _unissuing(ca)
    yield from _unrenewed(config, ca)


def _refusals(ca: CAConfig, now: datetime) -> Iterator[str]:
    root = _certificate(ca.root)
    if isinstance(root, str):
        yield f"{root}: no client's certificate can be verified; `crewgate ca init` makes it"
    elif root.not_valid_after_utc < now:
        yield f"{ca.root}: ended on {root.not_valid_after_utc:%Y-%m-%d}: make a new CA"
    crl = _crl(ca)
    if isinstance(crl, str):
        yield f"{crl}: every client's certificate is refused; {MEND}"
        return
    if _end(crl) < now:
        yield (
            f"{ca.crl}: stale since {_end(crl):%Y-%m-%d %H:%M}Z, so every client's certificate is "
            f"refused; {MEND}"
        )
    elif crl.last_update_utc > now:
        yield f"{ca.crl}: signed at {crl.last_update_utc:%Y-%m-%d %H:%M}Z, to come; set the clock"
    yield from _foreign_files(ca, root, crl)


def _foreign_files(
    ca: CAConfig, root: x509.Certificate | str, crl: x509.CertificateRevocationList
) -> Iterator[str]:
    """Files that are not of one CA, as far as this user may read them."""
    issuing = _certificate(ca.issuing)
    if isinstance(issuing, str):
        return
    if not _is_signed(crl, issuing):
        yield f"{ca.crl}: not a list of {ca.issuing}; {MEND}"
    if isinstance(root, x509.Certificate) and not is_issued(issuing, root):
        yield f"{ca.issuing}: not signed by {ca.root}; put back the files that belong together"


def _is_signed(crl: x509.CertificateRevocationList, issuing: x509.Certificate) -> bool:
    try:
        return crl.issuer == issuing.subject and crl.is_signature_valid(
            issuing.public_key()  # type: ignore[arg-type]  # TypeError of a kind that signs none
        )
    except TypeError:
        return False


def _unissuing(ca: CAConfig) -> Iterator[str]:
    """Why nothing can be issued or revoked here; a CA on another machine has no key here."""
    if not _is_readable(ca.folder) or not ca.issuing_key.exists():
        return
    try:
        key = read_key(ca.issuing_key, read_passphrase(ca))
        if key.public_key() != read_certificates(ca.issuing)[0].public_key():
            yield f"{ca.issuing_key}: not the key of {ca.issuing}; put back the one that is"
    except AuthorityError as error:
        yield str(error)
    if not ca.register.exists():
        yield f"{ca.register}: the register is not there, so nothing can be issued; put it back"


def _unrenewed(config: Config, ca: CAConfig) -> Iterator[str]:
    """Who has neither the key nor anybody to ask."""
    if has_key(ca) or not _is_known_keyless(ca) or config.remote is not None:
        return
    if config.cluster is None or not config.cluster.peers:
        yield (
            f"{ca.issuing_key}: the CA's key is not here, and neither `control` in [ca] nor peers "
            f"are named: nobody renews {ca.crl}, and it ends after "
            f"{limits.crl_seconds // 3600} hours"
        )


def _is_known_keyless(ca: CAConfig) -> bool:
    """Whether this user may see that there is no key."""
    return not ca.folder.is_dir() or os.access(ca.folder, os.X_OK)


def _is_readable(folder: Path) -> bool:
    try:
        return any(True for _ in folder.iterdir())
    except OSError:
        return False


def _certificate(path: Path) -> x509.Certificate | str:
    """The first certificate of a file; or what is wrong with it."""
    try:
        return read_certificates(path)[0]
    except AuthorityError as error:
        return str(error)


def _crl(ca: CAConfig) -> x509.CertificateRevocationList | str:
    try:
        with ca.crl.open("rb") as stream:
            return x509.load_pem_x509_crl(stream.read(limits.crl_bytes_max))
    except OSError as error:
        return f"{ca.crl}: the list of the revoked cannot be read ({error.strerror})"
    except ValueError:
        return f"{ca.crl}: not a list of revoked certificates of PEM"


def _end(crl: x509.CertificateRevocationList) -> datetime:
    """Its next update; one without is stale from the beginning."""
    return crl.next_update_utc or crl.last_update_utc
