"""A configuration made ready beside the one in force: policy, site, certificates, pools.

Everything here may fail and changes nothing; what comes out can be put in force in one step.
Blocks: to be called in a thread.
"""

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from crewgate.config import Config, Listener, Upstream, load
from crewgate.core.policy import Policy
from crewgate.gateway.guests import Rules
from crewgate.gateway.site import Site, build
from crewgate.server import Clients, Poller, fingerprint, server_context
from crewgate.upstream import Opener, Pool, Resolver, client_context
from crewgate.upstream import fingerprint as upstream_fingerprint
from crewgate.verifier.crossing import Crossings, Signer
from crewgate.verifier.policy import load_policy

Pools = dict[tuple[Upstream, bytes], Pool]  # by upstream and fingerprint of its TLS files


class Face(NamedTuple):
    """A listener: the certificate that it shows, whose it accepts, and what is asked of those."""

    section: Listener
    context: ssl.SSLContext
    fingerprint: bytes
    clients: Clients | None = None
    rules: Rules | None = None

    def make_context(self) -> ssl.SSLContext:
        """Make the context anew, with the list of revoked certificates as it is now."""
        return server_context(self.section.certificate, self.section.key, self.clients)


class Prepared(msgspec.Struct, frozen=True):
    """One configuration, ready to be served."""

    config: Config
    policy: Policy
    site: Site
    pools: Pools
    faces: tuple[Face, ...]


def prepare(
    path: Path,
    generation: int,
    signer: Signer,
    pools: Pools,
    poller: Poller,
    resolver: Resolver,
    say: Callable[[str], None],
) -> Prepared:
    """Load `path` as policy `generation`, with the pools that still fit. ConfigurationError.

    The policy trusts `signer` for what crosses to other crews without a token.
    """
    config = load(path)
    kept: Pools = {}
    by_name: dict[str, Pool] = {}
    for upstream in config.upstreams:
        key = (upstream, upstream_fingerprint(upstream))
        pool = pools.get(key)
        if pool is None:
            opener = Opener(upstream, poller, client_context(upstream))
            pool = Pool(upstream, opener, resolver, say)
        kept[key] = by_name[upstream.name] = pool
    crossings = Crossings(signer, config.audience, config.crossings, time.time())
    return Prepared(
        config,
        signer.admitted(load_policy(config, generation), config.crossings),
        build(config, by_name, crossings),
        kept,
        tuple(_face(config, listener) for listener in config.listeners),
    )


def _face(config: Config, listener: Listener) -> Face:
    clients, rules = None, None
    if listener.client_certificate != "none" and config.ca is not None:
        is_required = listener.client_certificate == "required"
        clients = Clients(config.ca.root, config.ca.crl, is_required)
        crews = listener.crews or (crew.name for crew in config.crews)
        rules = Rules(listener.name, is_required, frozenset(crews))
    files = (listener.certificate, listener.key, clients)
    return Face(listener, server_context(*files), fingerprint(*files), clients, rules)
