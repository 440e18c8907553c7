"""Checks that the workers can load what a configuration names, before the agent activates it.

A worker that cannot load the active configuration refuses all calls: it must not decide by an older
one. So a missing secret, or a certificate without its key, must keep the configuration inactive.
"""

from pathlib import Path

from crewgate.ca.ocsp.client_cert_checker import ClientCertOCSPChecker
from crewgate.config import Config
from crewgate.runtime.sealing_key_file import read_sealing_keys
from crewgate.server.tls import client_trust, server_context
from crewgate.upstream.credential import read_credential
from crewgate.upstream.tls import client_context


def require_loadable(config: Config) -> None:
    """Load all files of a worker but its policy, as the worker does. Blocks.

    Raises ConfigurationError if one cannot be used.
    """
    if not config.workers:
        return
    for listener in config.listeners:
        server_context(listener.certificate, listener.key, client_trust(config, listener))
    for upstream in config.upstreams:
        client_context(upstream)
        read_credential(upstream)
    if config.seals_ids:
        read_sealing_keys(config.sealing_keys)
    for agent in config.a2a:
        if agent.card_key is not None:
            _check_card_key(agent.card_key)
    if config.queried_ca is not None:
        ClientCertOCSPChecker(*config.queried_ca)


def _check_card_key(path: Path) -> None:
    # The issuer takes memory that an agent without such a key saves.
    from crewgate.issuer.signing import read_private_key  # noqa: PLC0415

    read_private_key(path)
