"""Loads a configuration beside the active one: policy, route table, certificates and pools.

All that can fail happens here and changes nothing that is active. The snapshot that results can be
activated in one step. `prepare` blocks: call it in a thread.
"""

import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config import Config, ListenerConfig, UpstreamConfig, load
from crewgate.core.policy.policy import Policy
from crewgate.core.sealed_ids import IdSealer
from crewgate.core.x509 import certificate
from crewgate.gateway.routes import RouteTable, build
from crewgate.policy.certificate_token_signer import CertificateTokenSigner, LocalSigner
from crewgate.policy.loader import load_policy
from crewgate.runtime.sealing_key_file import read_sealing_keys
from crewgate.server.peer_authorizer import PeerRules
from crewgate.server.tls import ClientCertificateTrust, client_trust, fingerprint, server_context
from crewgate.upstream.connector import Connector
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver
from crewgate.upstream.tls import client_context
from crewgate.upstream.tls import fingerprint as upstream_fingerprint

if TYPE_CHECKING:
    from crewgate.ca.ocsp.client_cert_checker import ClientCertOCSPChecker

_PEM_BEGIN, _PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
# By upstream, and the fingerprint of its TLS files.
Pools = dict[tuple[UpstreamConfig, bytes], UpstreamPool]


class PreparedListener(NamedTuple):
    """A listener to open: its TLS context, the client certificates it trusts, and its peer rules.

    `dates` are the first and the last second of its certificate's validity, in seconds since 1970;
    None if they cannot be read. `hosts` are those that its certificate names.
    """

    section: ListenerConfig
    context: ssl.SSLContext
    fingerprint: bytes
    clients: ClientCertificateTrust | None = None
    rules: PeerRules | None = None
    dates: tuple[int, int] | None = None
    hosts: tuple[str, ...] = ()

    def make_context(self) -> ssl.SSLContext:
        """Return a new context, with the CRL as it is on disk now."""
        return server_context(self.section.certificate, self.section.key, self.clients)


class ConfigSnapshot(msgspec.Struct, frozen=True):
    """One configuration, ready to be served.

    `inquiry` asks for the status of client certificates; None if no listener wants that.
    """

    config: Config
    policy: Policy
    routes: RouteTable
    pools: Pools
    listeners: tuple[PreparedListener, ...]
    inquiry: "ClientCertOCSPChecker | None" = None


def prepare(
    path: Path,
    generation: int,
    signer: LocalSigner,
    pools: Pools,
    poller: SocketPoller,
    resolver: Resolver,
    inquiry: "ClientCertOCSPChecker | None" = None,
) -> ConfigSnapshot:
    """Load `path` as policy `generation`; reuse those of `pools` that still fit.

    The previous `inquiry` is reused if it still fits, with the answers that it has; otherwise the
    status of every certificate would be asked for again, even if the responder is down. The policy
    trusts `signer`, which signs tokens for calls that have a client certificate only. Raises
    ConfigurationError.
    """
    config = load(path)
    kept: Pools = {}
    by_name: dict[str, UpstreamPool] = {}
    for upstream in config.upstreams:
        key = (upstream, upstream_fingerprint(upstream))
        pool = pools.get(key)
        if pool is None:
            connector = Connector(upstream, poller, client_context(upstream))
            pool = UpstreamPool(upstream, connector, resolver)
        kept[key] = by_name[upstream.name] = pool
    crossings = CertificateTokenSigner(signer, config.audience, config.crossings, time.time())
    return ConfigSnapshot(
        config,
        signer.admitted(load_policy(config, generation), config.crossings),
        build(config, by_name, crossings, _sealer(config)),
        kept,
        tuple(_prepare(config, listener) for listener in config.listeners),
        _inquiry(config, inquiry),
    )


def _sealer(config: Config) -> IdSealer | None:
    return IdSealer(read_sealing_keys(config.sealing_keys)) if config.seals_ids else None


def _inquiry(
    config: Config, previous: "ClientCertOCSPChecker | None"
) -> "ClientCertOCSPChecker | None":
    queried = config.queried_ca
    if queried is None:
        return None
    if previous is not None and previous.is_for(*queried):
        return previous
    # The module imports an X.509 library and an HTTP client: 15 MB that other workers save.
    from crewgate.ca.ocsp.client_cert_checker import ClientCertOCSPChecker  # noqa: PLC0415

    return ClientCertOCSPChecker(*queried)


def _prepare(config: Config, listener: ListenerConfig) -> PreparedListener:
    clients, rules = client_trust(config, listener), None
    if clients is not None:
        crews = listener.crews or (crew.name for crew in config.crews)
        rules = PeerRules(
            listener.name,
            frozenset(crews),
            ocsp=listener.ocsp,
            is_required=clients.is_required,
            oids=config.identity_oids,
        )
    files = (listener.certificate, listener.key, clients)
    # Take the digest before the files are read, so that the next reload sees a change in between.
    digest = fingerprint(*files)
    dates, hosts = _read(listener.certificate)
    return PreparedListener(listener, server_context(*files), digest, clients, rules, dates, hosts)


def _read(path: Path) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """Return the validity and the hosts of a listener's certificate, the first in a PEM file."""
    try:
        text = path.read_text("ascii")
        end = text.index(_PEM_END) + len(_PEM_END)
        found = certificate.read(ssl.PEM_cert_to_DER_cert(text[text.index(_PEM_BEGIN) : end]))
        return (found.not_before, found.not_after), found.hosts()
    except (OSError, ValueError):
        return None, ()
