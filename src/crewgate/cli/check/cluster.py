"""Whether peers would have this machine: its certificate, and the key that it signs with.

Judges by files alone; nobody is asked, and no peer is looked for.
"""

from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate.ca.certificates import is_issued
from crewgate.ca.gateway_signing_key import read_signing_key
from crewgate.ca.key_files import read_certificates
from crewgate.config import CAConfig, ClusterConfig, Config
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity import MAY_REVOKE, Identity, Role
from crewgate.errors import AuthorityError, ConfigurationError
from crewgate.server.tls import server_context

_ISSUE = "`crewgate ca issue --role gateway --signing-key FILE --right revoke` makes one"


def cluster_problems(config: Config) -> Iterator[str]:
    """Why peers would refuse this machine or what it signs, one line each."""
    cluster, ca = config.cluster, config.ca
    if cluster is None or ca is None:
        return
    try:
        server_context(cluster.certificate, cluster.key)
    except ConfigurationError as error:
        if not _is_shared(config, cluster):  # or else it was told of the listener
            yield f"[cluster]: {error}"
    else:
        yield from _strange(cluster, ca)
        yield from _unfit(cluster)
        yield from _misnamed(config, cluster)
    try:
        read_signing_key(cluster.signing_key)
    except AuthorityError as error:
        yield f"[cluster] signing_key: {error}"


def cluster_oddities(config: Config) -> Iterator[str]:
    """What such a machine cannot do although it is a member."""
    identity = None if config.cluster is None else _identity(config.cluster.certificate)
    if config.cluster is not None and identity is not None and MAY_REVOKE not in identity.rights:
        yield (
            f"{config.cluster.certificate}: without the right {MAY_REVOKE} this machine obeys what "
            "others revoke, and its own revocations are nobody's but its own"
        )


def _is_shared(config: Config, cluster: ClusterConfig) -> bool:
    files = (cluster.certificate, cluster.key)
    return any((each.certificate, each.key) == files for each in config.listeners)


def _strange(cluster: ClusterConfig, ca: CAConfig) -> Iterator[str]:
    """A certificate of another CA; whether this one's own files are in order is told of [ca]."""
    try:
        issuing = read_certificates(ca.issuing)[0]
    except AuthorityError:
        return
    try:
        is_ours = is_issued(read_certificates(cluster.certificate)[0], issuing)
    except AuthorityError:
        is_ours = False
    if not is_ours:
        yield f"{cluster.certificate}: not signed by {ca.issuing}, so no peer accepts it; {_ISSUE}"


def _unfit(cluster: ClusterConfig) -> Iterator[str]:
    identity = _identity(cluster.certificate)
    if identity is None or identity.role is not Role.GATEWAY:
        whose = "nobody's in particular" if identity is None else f"{identity.label}'s"
        yield f"{cluster.certificate}: {whose}, and peers are gateways; {_ISSUE}"
    elif not identity.key:
        yield f"{cluster.certificate}: has no signing key in it; {_ISSUE}"
    elif identity.key != _public(cluster.signing_key, identity.key):
        yield (
            f"{cluster.signing_key}: not the key in {cluster.certificate}, so peers refuse what it "
            "signs; put back the one that is"
        )


def _misnamed(config: Config, cluster: ClusterConfig) -> Iterator[str]:
    identity = _identity(cluster.certificate)
    is_fit = identity is not None and identity.role is Role.GATEWAY and identity.key
    if config.name and identity is not None and is_fit and identity.name != config.name:
        yield (
            f"{cluster.certificate}: is of machine {identity.name}, and this one is name = "
            f'"{config.name}"; members know it by its certificate: make both the same'
        )


def _public(path: Path, otherwise: bytes) -> bytes:
    """The key's public half; of one that cannot be read, which is told by itself, `otherwise`."""
    try:
        return read_signing_key(path).public_key().public_bytes_raw()
    except AuthorityError:
        return otherwise


def _identity(path: Path) -> Identity | None:
    """Whom the leaf speaks for; None if for nobody, or if it cannot be read."""
    try:
        leaf: x509.Certificate = read_certificates(path)[0]
        return read(leaf.public_bytes(Encoding.DER)).speaks_for()
    except (AuthorityError, ValueError):
        return None
