"""Checks that a gateway can use what its configuration names: certificates, keys, patterns."""

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography import x509

from crewgate import limits
from crewgate.ca.machine_cert_renewal import CertificateLifetime, is_ours, shown_certificates
from crewgate.ca.ocsp.client_cert_checker import ClientCertOCSPChecker
from crewgate.cli.check.alerts import alert_errors, alert_warnings
from crewgate.cli.check.ca import ca_errors, ca_warnings
from crewgate.cli.check.cluster import cluster_errors, cluster_warnings
from crewgate.cli.check.exports import export_errors, export_warnings
from crewgate.cli.check.identity_providers import (
    identity_provider_errors,
    identity_provider_warnings,
)
from crewgate.cli.check.ledger_file_access import ledger_file_errors, replaced_ledger_errors
from crewgate.cli.check.live_page import live_page_errors, live_page_warnings
from crewgate.cli.check.sealing_keys import sealing_key_errors, sealing_key_warnings
from crewgate.cli.check.state_folder_access import state_folder_errors
from crewgate.config import (
    ClusterConfig,
    Config,
    ControlConfig,
    CrewConfig,
    ExportConfig,
    ListenerConfig,
    file_descriptor_needs,
)
from crewgate.config.judged_tools import covers, judged_tools
from crewgate.config.reserved_crew_names import reserved_crew_names
from crewgate.core.mcp import tool_ids
from crewgate.errors import CAError, ConfigurationError
from crewgate.issuer.signing import SigningKey, read_private_key
from crewgate.policy.argument_rules_loader import load_argument_rules
from crewgate.policy.loader import crew_keys, load_policy
from crewgate.runtime.descriptor_limit import most
from crewgate.server.tls import server_context
from crewgate.upstream.credential import read_credential, variable_in_words
from crewgate.upstream.tls import client_context


def find_errors(config: Config) -> Iterator[str]:
    """Yield what would keep `serve` or a mint from working, one line each."""
    for load in (partial(load_policy, generation=1), load_argument_rules):
        try:
            load(config)
        except ConfigurationError as error:
            yield str(error)
    for listener in _shown(config):
        make = partial(server_context, listener.certificate, listener.key)
        where = f"listener {listener.name}: "
        yield from _tls_errors(make, where, listener.certificate, "clients refuse it")
    yield from ca_errors(config, datetime.now(UTC))
    if config.ca is not None and config.ca.ocsp is not None:
        ocsp = config.ca.ocsp
        make_checker = partial(ClientCertOCSPChecker, config.ca, ocsp)
        effect = "the OCSP responder refuses it"
        yield from _tls_errors(make_checker, "[ca] ocsp: ", ocsp.certificate, effect)
    control = config.control
    if control is not None and not _is_shown(config, control):
        make = partial(server_context, control.certificate, control.key)
        effect = "clients of the control API refuse it"
        yield from _tls_errors(make, "[control]: ", control.certificate, effect)
    yield from _all_cluster_errors(config)
    yield from _state_errors(config)
    yield from sealing_key_errors(config)
    yield from file_descriptor_needs.lacking(config, most())
    for crew in config.crews:
        yield from _signing_key_errors(crew)
    yield from _card_key_errors(config)
    for upstream in config.upstreams:
        if upstream.credential and upstream.credential.file:
            try:
                read_credential(upstream)
            except ConfigurationError as error:
                yield str(error)
        effect = f"the servers of {upstream.name} refuse it"
        make_client = partial(client_context, upstream)
        yield from _tls_errors(make_client, "", upstream.tls.certificate, effect)
    yield from export_errors(config)
    yield from alert_errors(config)
    yield from live_page_errors(config)
    yield from identity_provider_errors(config)


def _state_errors(config: Config) -> Iterator[str]:
    """Yield why `serve` cannot use the state folder and the ledger's file, which may be in it."""
    errors = list(state_folder_errors(config))
    file = config.ledger.file
    if not errors or file is None or config.state not in file.parents:
        errors += ledger_file_errors(config)
    # What this machine knows of its ledger is in the state folder.
    yield from errors or replaced_ledger_errors(config)


def _shown(config: Config) -> Iterable[ListenerConfig]:
    """Return the first listener of each certificate, so that an error is reported once."""
    return {(each.certificate, each.key): each for each in reversed(config.listeners)}.values()


def find_warnings(config: Config) -> Iterator[str]:
    """Yield what a gateway accepts but a person hardly intends."""
    yield from ca_warnings(config, datetime.now(UTC))
    yield from reserved_crew_names(config)
    yield from _weak_ocsp(config)
    for pair in shown_certificates(config):
        yield from _expiring(config, pair.certificate)
    yield from cluster_warnings(config)
    yield from sealing_key_warnings(config)
    for client in config.clients:
        credential = client.credential
        if credential and credential.env and not os.environ.get(credential.env):
            table = "export" if isinstance(client, ExportConfig) else "upstream"
            variable = variable_in_words(credential)
            yield f"{table} {client.name}: {variable} is not set here; set it for `serve`"
    yield from export_warnings(config)
    yield from alert_warnings(config)
    yield from live_page_warnings(config)
    yield from identity_provider_warnings(config)
    yield from _unreachable_tools(config)
    yield from _unlimited_models(config)


def _unreachable_tools(config: Config) -> Iterator[str]:
    """Yield patterns without a tool, tools that no crew may call, and unusable crossings."""
    if config.crossings and all(each.client_certificate == "none" for each in config.listeners):
        yield (
            "[[crossing]] has no effect: no listener requests client certificates; set "
            'client_certificate = "required" or "optional" on one'
        )
    tools = judged_tools(config)
    for crew in config.crews:
        for pattern in crew.tools:
            if not any(covers(pattern, tool) for tool in tools):
                yield f'crew {crew.name}: "{pattern}" matches no tool of this configuration'
            for endpoint in config.mcp:
                meant = tool_ids.with_colon(pattern, endpoint.name)
                if meant is not None:
                    yield (
                        f'crew {crew.name}: "{pattern}" allows tools only; for prompts and '
                        f'resources, write a colon: "{meant}"'
                    )
    granted = [pattern for crew in config.crews for pattern in crew.tools]
    granted += [pattern for crossing in config.crossings for pattern in crossing.tools]
    for tool in tools:
        if not any(covers(pattern, tool) for pattern in granted):
            yield (
                f"tool {tool.name}: no crew may call it; add it to `tools` of a section [crew.NAME]"
            )


def _unlimited_models(config: Config) -> Iterator[str]:
    """Yield models whose calls must limit their answer, which few clients do by default."""
    for tool in config.tools:
        usage = tool.tariff and tool.tariff.usage
        # Every request to Anthropic sets a limit.
        if not usage or usage.dialect == "anthropic":
            continue
        for model in usage.models:
            if model.output and not model.output_tokens:
                yield (
                    f'tool {tool.name}: model "{model.name}" has no output_tokens, so the gateway '
                    "refuses a request that does not limit its answer (422)"
                )


def _weak_ocsp(config: Config) -> Iterator[str]:
    for listener in config.listeners:
        if listener.ocsp == "soft-fail":
            yield (
                f'listener {listener.name}: ocsp = "soft-fail" accepts a revoked certificate '
                'while OCSP does not answer; "required" refuses it'
            )


def _tls_errors(
    make: Callable[[], object], where: str, certificate: Path | None, effect: str
) -> Iterator[str]:
    """Yield why `make` cannot use the files for TLS, or that the certificate has ended."""
    try:
        make()
    except ConfigurationError as error:
        yield f"{where}{error}"
        return
    if certificate is not None:
        yield from _expired(certificate, effect)


def _all_cluster_errors(config: Config) -> Iterator[str]:
    """Yield why peers would refuse this machine, with the end of its certificate."""
    errors = list(cluster_errors(config))
    yield from errors
    cluster = config.cluster
    if cluster is not None and not errors and not _is_shown(config, cluster):
        yield from _expired(cluster.certificate, "peers refuse it")


def _is_shown(config: Config, other: ControlConfig | ClusterConfig) -> bool:
    shown = {(each.certificate, each.key) for each in config.listeners}
    return (other.certificate, other.key) in shown


def _signing_key_errors(crew: CrewConfig) -> Iterator[str]:
    if crew.signing_key is None:
        return
    try:
        keys = crew_keys(crew)
    except ConfigurationError:
        # `load_policy` has reported the same error.
        return
    try:
        SigningKey.load(crew.signing_key, keys, str(crew.jwks))
    except ConfigurationError as error:
        yield f"crew {crew.name}: {error}"


def _card_key_errors(config: Config) -> Iterator[str]:
    for agent in config.a2a:
        if agent.card_key is not None:
            try:
                read_private_key(agent.card_key)
            except ConfigurationError as error:
                yield f"a2a {agent.name}: {error}"


def _expired(certificate: Path, effect: str) -> Iterator[str]:
    # A TLS context has already read the file.
    end = x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc
    if end < datetime.now(UTC):
        yield f"{certificate}: ended on {end:%Y-%m-%d}, so {effect}; renew it"


def _expiring(config: Config, certificate: Path) -> Iterator[str]:
    """Yield a certificate that will end soon; `serve` renews those of our CA long before."""
    now = datetime.now(UTC).timestamp()
    try:
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError, IndexError):
        # `find_errors` reports it.
        return
    life = CertificateLifetime.of(leaf)
    try:
        ours = config.ca is not None and is_ours(config.ca, leaf)
    except CAError:
        ours = False
    left = life.end - now
    is_near = life.ends_soon(now) if ours else left < limits.certificate_warning_days * 86_400
    if left > 0 and is_near:
        yield f"{certificate}: ends in {(life.end - now) // 86_400:.0f} days; renew it"
