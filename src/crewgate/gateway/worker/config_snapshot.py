"""A configuration made ready beside the one in force: policy, site, certificates, pools.

Everything here may fail and changes nothing; what comes out can be put in force in one step.
Blocks: to be called in a thread.
"""

import ssl
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from crewgate.config import CAConfig, Config, ListenerConfig, ResponderConfig, UpstreamConfig, load
from crewgate.core.policy.policy import Policy
from crewgate.core.x509 import certificate
from crewgate.core.x509.certificate_status import CertificateStatus
from crewgate.gateway.routes import RouteTable, build
from crewgate.policy.certificate_tokens import CertificateTokens, LocalSigner
from crewgate.policy.loader import load_policy
from crewgate.server import ClientCertificateTrust, Poller, fingerprint, server_context
from crewgate.server.peer_authorizer import PeerRules
from crewgate.upstream import Connector, Resolver, UpstreamPool, client_context
from crewgate.upstream import fingerprint as upstream_fingerprint

_PEM_BEGIN, _PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
Pools = dict[
    tuple[UpstreamConfig, bytes], UpstreamPool
]  # by upstream and fingerprint of its TLS files


class PreparedListener(NamedTuple):
    """A listener: the certificate that it shows, whose it accepts, and what is asked of those.

    `dates` are the first and the last second of its certificate; None if they cannot be told.
    """

    section: ListenerConfig
    context: ssl.SSLContext
    fingerprint: bytes
    clients: ClientCertificateTrust | None = None
    rules: PeerRules | None = None
    dates: tuple[int, int] | None = None

    def make_context(self) -> ssl.SSLContext:
        """Make the context anew, with the list of revoked certificates as it is now."""
        return server_context(self.section.certificate, self.section.key, self.clients)


class StatusClient(Protocol):
    """Whoever is asked for the status of certificates."""

    async def check(self, key: bytes, certificate: bytes) -> CertificateStatus:
        """Return the status of a certificate (DER) whose key in the table is `key`."""

    def is_for(self, ca: CAConfig, responder: ResponderConfig) -> bool:
        """Whether one made now would ask the same."""

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget certificates that were revoked on this machine."""

    async def close(self) -> None:
        """Close, once nobody can wait for an answer any more."""


class ConfigSnapshot(msgspec.Struct, frozen=True):
    """One configuration, ready to be served; `inquiry` is None where no listener wants one."""

    config: Config
    policy: Policy
    routes: RouteTable
    pools: Pools
    listeners: tuple[PreparedListener, ...]
    inquiry: StatusClient | None = None

    def forget(self, keys: Iterable[bytes]) -> None:
        """What was asked of these certificates is no longer so: they were revoked here."""
        if self.inquiry is not None:
            self.inquiry.forget(keys)

    def lenient(self) -> list[str]:
        """Listeners that admit certificates although nobody says that they are good."""
        return [
            prepared.section.name
            for prepared in self.listeners
            if prepared.section.ocsp == "soft-fail"
        ]


def prepare(
    path: Path,
    generation: int,
    signer: LocalSigner,
    pools: Pools,
    poller: Poller,
    resolver: Resolver,
    inquiry: StatusClient | None = None,
) -> ConfigSnapshot:
    """Load `path` as policy `generation`, with the pools that still fit. ConfigurationError.

    An `inquiry` of before goes on if it fits, with the answers that it has: else all certificates
    would be asked for again, whether or not anybody answers now. The policy trusts `signer` for
    what crosses to other crews without a token.
    """
    config = load(path)
    kept: Pools = {}
    by_name: dict[str, UpstreamPool] = {}
    for upstream in config.upstreams:
        key = (upstream, upstream_fingerprint(upstream))
        pool = pools.get(key)
        if pool is None:
            opener = Connector(upstream, poller, client_context(upstream))
            pool = UpstreamPool(upstream, opener, resolver)
        kept[key] = by_name[upstream.name] = pool
    crossings = CertificateTokens(signer, config.audience, config.crossings, time.time())
    return ConfigSnapshot(
        config,
        signer.admitted(load_policy(config, generation), config.crossings),
        build(config, by_name, crossings),
        kept,
        tuple(_prepare(config, listener) for listener in config.listeners),
        _inquiry(config, inquiry),
    )


def _inquiry(config: Config, before: StatusClient | None) -> StatusClient | None:
    if config.ca is None or config.ca.ocsp is None:
        return None
    if all(listener.ocsp == "off" for listener in config.listeners):
        return None
    if before is not None and before.is_for(config.ca, config.ca.ocsp):
        return before
    # The client imports X.509 and a client of HTTP: 15 MB that a worker without OCSP does not have.
    from crewgate.gateway.worker.ocsp_status import OCSPStatusClient  # noqa: PLC0415 - see above

    return OCSPStatusClient(config.ca, config.ca.ocsp)


def _prepare(config: Config, listener: ListenerConfig) -> PreparedListener:
    clients, rules = None, None
    if listener.client_certificate != "none" and config.ca is not None:
        is_required = listener.client_certificate == "required"
        clients = ClientCertificateTrust(config.ca.root, config.ca.crl, is_required)
        crews = listener.crews or (crew.name for crew in config.crews)
        rules = PeerRules(
            listener.name, frozenset(crews), ocsp=listener.ocsp, is_required=is_required
        )
    files = (listener.certificate, listener.key, clients)
    # First: of files that change in between, the next reload sees that they are others.
    digest = fingerprint(*files)
    dates = _dates(listener.certificate)
    return PreparedListener(listener, server_context(*files), digest, clients, rules, dates)


def _dates(path: Path) -> tuple[int, int] | None:
    """Of the first certificate in a PEM file, which is the listener's own."""
    try:
        text = path.read_text("ascii")
        end = text.index(_PEM_END) + len(_PEM_END)
        found = certificate.read(ssl.PEM_cert_to_DER_cert(text[text.index(_PEM_BEGIN) : end]))
    except (OSError, ValueError):
        return None
    return found.not_before, found.not_after
