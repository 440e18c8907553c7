"""A configuration made ready beside the one in force: policy, site, certificates, pools.

Everything here may fail and changes nothing; what comes out can be put in force in one step.
Blocks: to be called in a thread.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from crewgate.config import Config, Listener, Upstream, load
from crewgate.core.policy import Policy
from crewgate.gateway.site import Site, build
from crewgate.server import Poller, fingerprint, server_context
from crewgate.upstream import Opener, Pool, Resolver, client_context
from crewgate.verifier.policy import load_policy


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
    pools: dict[Upstream, Pool]
    faces: tuple[Face, ...]


def prepare(
    path: Path,
    generation: int,
    pools: Mapping[Upstream, Pool],
    poller: Poller,
    resolver: Resolver,
) -> Prepared:
    """Load `path` as policy `generation`, with the pools that still fit. ConfigurationError."""
    config = load(path)
    kept = {
        upstream: pools.get(upstream)
        or Pool(upstream, Opener(upstream, poller, client_context(upstream)), resolver)
        for upstream in config.upstreams
    }
    return Prepared(
        config,
        load_policy(config, generation),
        build(config, {upstream.name: kept[upstream] for upstream in config.upstreams}),
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
