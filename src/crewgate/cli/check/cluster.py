"""Checks whether peers would accept this machine, by its certificate and its signing key.

The checks read files only, and connect to nothing.
"""

from collections.abc import Iterator
from pathlib import Path

from crewgate.ca.certificates import identity_in, identity_under_any_oid, is_issued
from crewgate.ca.key_files import read_certificates
from crewgate.ca.member_signing_key import read_signing_key
from crewgate.config import CAConfig, ClusterConfig, Config
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role
from crewgate.core.x509.identity_oids import IdentityOIDs
from crewgate.errors import CAError, ConfigurationError
from crewgate.server.tls import server_context

_ISSUE = "issue one with `crewgate ca issue --role gateway --signing-key FILE --right revoke`"


def cluster_errors(config: Config) -> Iterator[str]:
    """Yield why peers would refuse this machine, or what it signs."""
    cluster, ca = config.cluster, config.ca
    if cluster is None or ca is None:
        return
    try:
        server_context(cluster.certificate, cluster.key)
    except ConfigurationError as error:
        # If a listener has the same files, the check of the listener reports the error.
        if not _is_shared(config, cluster):
            yield f"[cluster]: {error}"
    else:
        yield from _foreign_certificate(cluster, ca)
        yield from _wrong_identity(config, cluster)
    try:
        read_signing_key(cluster.signing_key)
    except CAError as error:
        yield f"[cluster] signing_key: {error}"


def cluster_warnings(config: Config) -> Iterator[str]:
    """Yield what this machine cannot do although it is a member."""
    if config.cluster is None:
        return
    identity = _identity(config.cluster.certificate, config.identity_oids)
    if identity is not None and MAY_REVOKE not in identity.rights:
        yield (
            f"{config.cluster.certificate}: without the right {MAY_REVOKE}, this machine applies "
            "revocations of other machines, but they ignore its own; issue the certificate again "
            f"with --right {MAY_REVOKE}"
        )


def _is_shared(config: Config, cluster: ClusterConfig) -> bool:
    files = (cluster.certificate, cluster.key)
    return any((each.certificate, each.key) == files for each in config.listeners)


def _foreign_certificate(cluster: ClusterConfig, ca: CAConfig) -> Iterator[str]:
    """Yield an error if another CA signed the certificate; `check/ca` checks the CA's files."""
    try:
        issuing = read_certificates(ca.issuing)[0]
    except CAError:
        return
    try:
        is_ours = is_issued(read_certificates(cluster.certificate)[0], issuing)
    except CAError:
        is_ours = False
    if not is_ours:
        yield f"{cluster.certificate}: not signed by {ca.issuing}, so no peer accepts it; {_ISSUE}"


def _wrong_identity(config: Config, cluster: ClusterConfig) -> Iterator[str]:
    identity = _identity(cluster.certificate, config.identity_oids)
    if identity is None and _has_identity(cluster.certificate):
        yield (
            f"{cluster.certificate}: its identity has an OID that [ca] does not name; add the OID "
            "to accepted_identity_oids on all machines"
        )
        return
    if identity is None or identity.role is not Role.GATEWAY:
        holder = "no holder" if identity is None else identity.label
        yield f"{cluster.certificate}: is for {holder}, and peers accept only gateways; {_ISSUE}"
        return
    if not identity.key:
        yield f"{cluster.certificate}: names no signing key; {_ISSUE}"
        return
    if identity.key != _public(cluster.signing_key, identity.key):
        yield (
            f"{cluster.signing_key}: not the key in {cluster.certificate}, so peers refuse what it "
            "signs; restore the matching key"
        )
    if config.name and identity.name != config.name:
        yield (
            f"{cluster.certificate}: is for machine {identity.name}, but the configuration has "
            f'name = "{config.name}"; members know a machine by its certificate: make both the same'
        )


def _public(path: Path, otherwise: bytes) -> bytes:
    """Return the public half of a key; `otherwise` if it cannot be read (another check says so)."""
    try:
        return read_signing_key(path).public_key().public_bytes_raw()
    except CAError:
        return otherwise


def _has_identity(path: Path) -> bool:
    """Return whether a certificate names an identity, under whichever OID."""
    try:
        identity_under_any_oid(read_certificates(path)[0])
    except (CAError, ValueError):
        return False
    return True


def _identity(path: Path, oids: IdentityOIDs) -> Identity | None:
    """Return the identity that a certificate names; None if it names none or cannot be read."""
    try:
        return identity_in(read_certificates(path)[0], oids)
    except (CAError, ValueError):
        return None
