"""A configuration made ready beside the one in force: policy, site, certificates, pools.

Everything here may fail and changes nothing; what comes out can be put in force in one step.
Blocks: to be called in a thread.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from crewgate.config import Config, Listener, Upstream, load
from crewgate.core.policy import Policy
from crewgate.gateway.site import Site, build
from crewgate.server import Poller, fingerprint, server_context
from crewgate.upstream import Opener, Pool, Resolver, client_context
from crewgate.upstream import fingerprint as upstream_fingerprint
from crewgate.verifier.policy import load_policy

Pools = dict[tuple[Upstream, bytes], Pool]  # by upstream and fingerprint of its TLS files


class Face(NamedTuple):
    """A listener, and the certificate that it shows."""

    section: Listener
    context: ssl.SSLContext
    fingerprint: bytes


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
    pools: Pools,
    poller: Poller,
    resolver: Resolver,
    say: Callable[[str], None],
) -> Prepared:
    """Load `path` as policy `generation`, with the pools that still fit. ConfigurationError."""
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
    return Prepared(
        config,
        load_policy(config, generation),
        build(config, by_name),
        kept,
        tuple(
            Face(
                listener,
                server_context(listener.certificate, listener.key),
                fingerprint(listener.certificate, listener.key),
            )
            for listener in config.listeners
        ),
    )
