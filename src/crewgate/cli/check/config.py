"""Whether what a configuration names can be used: certificates, keys, credentials, patterns."""

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from crewgate import limits
from crewgate.ca.renewal import CertificateLifetime, is_ours
from crewgate.cli.check.ca import ca_oddities, ca_problems
from crewgate.cli.check.cluster import cluster_oddities, cluster_problems
from crewgate.cli.check.ledger_file import unkept
from crewgate.config import (
    ClusterConfig,
    Config,
    ControlConfig,
    CrewConfig,
    ListenerConfig,
    UpstreamConfig,
    descriptors,
)
from crewgate.core.policy.scope import matches
from crewgate.errors import AuthorityError, ConfigurationError
from crewgate.gateway.worker.ocsp_status import OCSPStatusClient
from crewgate.issuer.signing import SigningKey
from crewgate.policy.loader import crew_keys, load_policy
from crewgate.runtime.descriptors import most
from crewgate.server.tls import server_context
from crewgate.upstream.tls import client_context


def find_errors(config: Config) -> Iterator[str]:
    """What would stop `serve`, or a mint, one line each."""
    try:
        load_policy(config, 1)
    except ConfigurationError as error:
        yield str(error)
    for listener in _shown(config):
        try:
            server_context(listener.certificate, listener.key)
        except ConfigurationError as error:
            yield f"listener {listener.name}: {error}"
        else:
            yield from _expired(listener.certificate, "clients refuse it")
    yield from ca_problems(config, datetime.now(UTC))
    yield from _unasked(config)
    yield from _uncontrolled(config)
    yield from _unjoined(config)
    yield from unkept(config)
    yield from descriptors.lacking(config, most())
    for crew in config.crews:
        yield from _unusable(crew)
    for upstream in config.upstreams:
        if upstream.credential and upstream.credential.file:
            yield from _unreadable(upstream.credential.file, f"credential of {upstream.name}")
        yield from _unreachable(upstream)


def _shown(config: Config) -> Iterable[ListenerConfig]:
    """The first listener of each certificate: what is wrong with it is told once."""
    return {(each.certificate, each.key): each for each in reversed(config.listeners)}.values()


def find_warnings(config: Config) -> Iterator[str]:
    """What can be served and is hardly meant."""
    yield from ca_oddities(config, datetime.now(UTC))
    yield from _lenient(config)
    for listener in _shown(config):
        yield from _expiring(config, listener.certificate)
    for each in (config.control, config.cluster):
        if each is not None and not _is_shown(config, each):
            yield from _expiring(config, each.certificate)
    yield from cluster_oddities(config)
    for upstream in config.upstreams:
        if upstream.tls.certificate:
            yield from _expiring(config, upstream.tls.certificate)
        variable = upstream.credential and upstream.credential.env
        if variable and not os.environ.get(variable):
            yield f"upstream {upstream.name}: {variable} is not set here; set it for `serve`"
    yield from _ungranted(config)
    yield from _unlimited(config)


def _ungranted(config: Config) -> Iterator[str]:
    """Patterns without a tool, tools that nobody may call, crossings that nobody can use."""
    if config.crossings and all(each.client_certificate == "none" for each in config.listeners):
        yield (
            "crossing: no listener asks for certificates, so nobody crosses; give one "
            'client_certificate = "required" or "optional"'
        )
    tools = [tool.name for tool in config.tools]
    for crew in config.crews:
        for pattern in crew.tools:
            if not any(matches(pattern, tool) for tool in tools):
                yield f'crew {crew.name}: "{pattern}" covers no tool of this configuration'
    granted = [pattern for crew in config.crews for pattern in crew.tools]
    granted += [pattern for crossing in config.crossings for pattern in crossing.tools]
    for tool in tools:
        if not any(matches(pattern, tool) for pattern in granted):
            yield f"tool {tool}: no crew may be granted it; add it to [crew.NAME] tools"


def _unlimited(config: Config) -> Iterator[str]:
    """Models whose calls are refused unless they limit the answer, as few clients do by default."""
    for tool in config.tools:
        usage = tool.tariff and tool.tariff.usage
        if not usage or usage.dialect == "anthropic":  # there every request sets a limit
            continue
        for model in usage.models:
            if model.output and not model.output_tokens:
                yield (
                    f'tool {tool.name}: without output_tokens of the model "{model.name}" a '
                    "request that does not limit its answer is refused (422)"
                )


def _lenient(config: Config) -> Iterator[str]:
    """What a listener does not insist on, and what goes past everybody on its way."""
    for listener in config.listeners:
        if listener.ocsp == "soft-fail":
            yield (
                f'listener {listener.name}: ocsp = "soft-fail" admits a revoked certificate while '
                'OCSP does not answer; "required" refuses it'
            )
    responder = config.ca and config.ca.ocsp
    if responder and responder.certificate:
        yield from _expiring(config, responder.certificate)


def _unasked(config: Config) -> Iterator[str]:
    """Why nobody can be asked for the status of certificates, as far as files decide."""
    if config.ca is None or config.ca.ocsp is None:
        return
    try:
        OCSPStatusClient(config.ca, config.ca.ocsp)
    except ConfigurationError as error:
        yield f"[ca] ocsp: {error}"
        return
    if config.ca.ocsp.certificate:
        yield from _expired(config.ca.ocsp.certificate, "the OCSP responder refuses it")


def _uncontrolled(config: Config) -> Iterator[str]:
    """Why the control API could not be served; what it shares with a listener was told there."""
    control = config.control
    if control is None or _is_shown(config, control):
        return
    try:
        server_context(control.certificate, control.key)
    except ConfigurationError as error:
        yield f"[control]: {error}"
    else:
        yield from _expired(control.certificate, "clients of the control API refuse it")


def _unjoined(config: Config) -> Iterator[str]:
    """Why no peer would have this machine."""
    wrong = list(cluster_problems(config))
    yield from wrong
    cluster = config.cluster
    if cluster is not None and not wrong and not _is_shown(config, cluster):
        yield from _expired(cluster.certificate, "peers refuse it")


def _is_shown(config: Config, other: ControlConfig | ClusterConfig) -> bool:
    shown = {(each.certificate, each.key) for each in config.listeners}
    return (other.certificate, other.key) in shown


def _unusable(crew: CrewConfig) -> Iterator[str]:
    if crew.signing_key is None:
        return
    try:
        keys = crew_keys(crew)
    except ConfigurationError:
        return  # the policy has the same problem, and it was told there
    try:
        SigningKey.load(crew.signing_key, keys, str(crew.jwks))
    except ConfigurationError as error:
        yield f"crew {crew.name}: {error}"


def _unreachable(upstream: UpstreamConfig) -> Iterator[str]:
    """Why no TLS connection to its servers can be made, as far as files of this machine decide."""
    try:
        client_context(upstream)
    except ConfigurationError as error:
        yield str(error)
        return
    if upstream.tls.certificate:
        yield from _expired(upstream.tls.certificate, f"the servers of {upstream.name} refuse it")


def _unreadable(path: Path, what: str) -> Iterator[str]:
    try:
        if not path.read_bytes().strip():
            yield f"{path}: the {what} is empty; put the secret there"
    except OSError as error:
        yield f"{path}: the {what} cannot be read ({error.strerror})"


def _end(certificate: Path) -> datetime:
    """When the first certificate of a PEM file ends; a context has read the file before."""
    return x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc


def _expired(certificate: Path, effect: str) -> Iterator[str]:
    end = _end(certificate)
    if end < datetime.now(UTC):
        yield f"{certificate}: ended on {end:%Y-%m-%d}; {effect}: renew it"


def _expiring(config: Config, certificate: Path) -> Iterator[str]:
    """Those that somebody must renew; `serve` renews those of our CA long before they end."""
    now = datetime.now(UTC).timestamp()
    try:
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError, IndexError):
        return  # told as a problem
    life = CertificateLifetime.of(leaf)
    try:
        ours = config.ca is not None and is_ours(config.ca, leaf)
    except AuthorityError:
        ours = False
    left = life.end - now
    is_near = life.ends_soon(now) if ours else left < limits.certificate_warning_days * 86_400
    if left > 0 and is_near:
        yield f"{certificate}: ends in {(life.end - now) // 86_400:.0f} days; renew it"
