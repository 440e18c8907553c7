"""The sections of an upstream: its servers, how they are reached, verified and watched.

Knows the keys and their defaults, and what must hold within one section. Opens nothing.
"""

from pathlib import Path
from typing import cast

from crewgate import limits
from crewgate.config import values
from crewgate.config.model import (
    CredentialConfig,
    HealthCheckConfig,
    Reuse,
    UpstreamConfig,
    UpstreamOrigin,
    UpstreamProtocol,
    UpstreamTLS,
)
from crewgate.config.section import Section, ValueType

_DIALECT: ValueType[UpstreamProtocol] = values.one_of("http/1.1", "h2")
_REUSE: ValueType[Reuse] = values.one_of("shared", "crew", "branch")
_NOWHERE = UpstreamOrigin(
    "http", "localhost", 80
)  # stands for what could not be read; never seen outside
_ENDPOINTS = values.listed(values.ORIGIN, limits.endpoints_max, least=1)
_THRESHOLD = values.integer(1, limits.health_threshold_max)
_INTERVAL = values.seconds(limits.health_interval_seconds_max, limits.health_interval_seconds_min)


def read_upstream(name: str, section: Section, path: ValueType[Path]) -> UpstreamConfig:
    """The upstream `name`; its problems are noted in the section."""
    credential, tls, health = (section.child(key) for key in ("credential", "tls", "health"))
    endpoints, base = _endpoints(section)
    upstream = UpstreamConfig(
        name=name,
        endpoints=endpoints,
        credential=None if credential is None else _credential(credential, path),
        protocol=section.optional("protocol", _DIALECT, "http/1.1"),
        tls=UpstreamTLS() if tls is None else _tls(tls, path, endpoints[0]),
        host=section.optional("host", cast("ValueType[str | None]", values.HOST), None),
        connect_seconds=_seconds(section, "connect", limits.upstream_connect_seconds_max),
        first_byte_seconds=_seconds(section, "first_byte", limits.upstream_first_byte_seconds_max),
        idle_seconds=_seconds(section, "idle", limits.upstream_idle_seconds_max),
        connections=section.optional(
            "connections",
            values.integer(1, limits.upstream_connections_max),
            limits.upstream_connections_default,
        ),
        reuse=section.optional("reuse", _REUSE, "shared"),
        retry=section.optional("retry", values.SWITCH, default=True),
        retry_share=section.optional("retry_share", values.SHARE, limits.upstream_retry_share),
        health=None if health is None else _health(health),
        base=base,
    )
    section.close()
    return upstream


def _endpoints(section: Section) -> tuple[tuple[UpstreamOrigin, ...], str]:
    """The servers, of `url` or `endpoints`: at least one, all of one scheme; and `url`'s path."""
    given = set(section.keys())
    nowhere: tuple[UpstreamOrigin, ...] = (_NOWHERE,)
    endpoints = section.optional("endpoints", _ENDPOINTS, nowhere)
    if "endpoints" not in given:
        url = section.required(
            "url", cast("ValueType[tuple[UpstreamOrigin, str] | None]", values.BASE_URL)
        )
        origin, base = url or (_NOWHERE, "")
        return (origin,), base
    if "url" in given:
        section.problem("expected one of url and endpoints; a single server may be either")
        section.optional("url", values.BASE_URL, (_NOWHERE, ""))
    if len({endpoint.scheme for endpoint in endpoints}) > 1:
        section.problem("endpoints: some are http and some https; write an upstream for each")
    return endpoints, ""


def _seconds(section: Section, what: str, most: float) -> float:
    return section.optional(f"{what}_seconds", values.seconds(most), most)


def _credential(section: Section, path: ValueType[Path]) -> CredentialConfig:
    credential = CredentialConfig(
        header=section.required("header", values.FIELD),
        prefix=section.optional("prefix", values.PREFIX, ""),
        file=section.optional("file", cast("ValueType[Path | None]", path), None),
        env=section.optional("env", cast("ValueType[str | None]", values.VARIABLE), None),
    )
    if (credential.file is None) == (credential.env is None):
        section.problem("expected one of file and env: where the secret is read from")
    section.close()
    return credential


def _tls(section: Section, path: ValueType[Path], endpoint: UpstreamOrigin) -> UpstreamTLS:
    file = cast("ValueType[Path | None]", path)
    tls = UpstreamTLS(
        ca=section.optional("ca", file, None),
        certificate=section.optional("certificate", file, None),
        key=section.optional("key", file, None),
        server_name=section.optional(
            "server_name", cast("ValueType[str | None]", values.HOST_NAME), None
        ),
    )
    if (tls.certificate is None) != (tls.key is None):
        section.problem("expected certificate and key, or neither")
    if endpoint.scheme != "https" and endpoint is not _NOWHERE:
        section.problem("the upstream's URL is http, where nothing is verified; write https")
    section.close()
    return tls


def _health(section: Section) -> HealthCheckConfig:
    default = HealthCheckConfig("/")
    interval = section.optional("interval_seconds", _INTERVAL, default.interval_seconds)
    health = HealthCheckConfig(
        path=section.required("path", values.TARGET),
        interval_seconds=interval,
        timeout_seconds=section.optional(
            "timeout_seconds",
            values.seconds(limits.health_interval_seconds_max),
            min(default.timeout_seconds, interval),
        ),
        healthy=section.optional("healthy", _THRESHOLD, default.healthy),
        unhealthy=section.optional("unhealthy", _THRESHOLD, default.unhealthy),
    )
    if health.timeout_seconds > health.interval_seconds:
        section.problem(
            f"timeout_seconds ({health.timeout_seconds:g}) is over interval_seconds "
            f"({health.interval_seconds:g}); a request would overtake the one before"
        )
    section.close()
    return health
