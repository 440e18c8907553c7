"""Envoy's configuration for the nearest work: token, a claim and the path, a rate limit, forward.

Signature and times are checked by jwt_authn with its token cache, as Crewgate's verdicts are
cached too; RBAC wants the tool in the token's `allowed_tools` and the tool's path. Envoy keeps no
credits, no revocations and no audit here: what it does is less.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.hop.tools import TOOLS, Tool

TYPES = "type.googleapis.com/envoy.extensions."
PLENTY = 10_000_000  # a second; the limit is asked and never reached
CACHED_TOKENS = 10_000  # more than any load has


@dataclass(frozen=True)
class Demand:
    """What a token must say, and where the keys are."""

    issuer: str
    audience: str
    jwks: Path


def named(name: str, kind: str, **members: object) -> dict[str, Any]:
    """A filter or a socket with its typed configuration."""
    return {"name": name, "typed_config": {"@type": TYPES + kind, **members}}


def authentication(demand: Demand) -> dict[str, Any]:
    """The JWT filter, claims kept for the next one."""
    provider = {
        "issuer": demand.issuer,
        "audiences": [demand.audience],
        "local_jwks": {"filename": str(demand.jwks)},
        "payload_in_metadata": "claims",
        "jwt_cache_config": {"jwt_cache_size": CACHED_TOKENS},
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "crew"}}
    kind = "filters.http.jwt_authn.v3.JwtAuthentication"
    return named("envoy.filters.http.jwt_authn", kind, providers={"crew": provider}, rules=[rule])


def claimed(name: str) -> dict[str, Any]:
    """The principal whose token lists this tool."""
    matcher = {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "claims"}, {"key": "allowed_tools"}],
        "value": {"list_match": {"one_of": {"string_match": {"exact": name}}}},
    }
    return {"sourced_metadata": {"metadata_source": "DYNAMIC", "metadata_matcher": matcher}}


def policy(tool: Tool) -> dict[str, Any]:
    """The tool's path, for tokens that list the tool."""
    return {
        "permissions": [{"url_path": {"path": {"exact": tool.path}}}],
        "principals": [claimed(tool.name)],
    }


def authorization() -> dict[str, Any]:
    """A policy a tool. Envoy asks them by name: the one that most loads use has the first."""
    return rbac({f"{place} {tool.name}": policy(tool) for place, tool in enumerate(TOOLS)})


def rbac(policies: dict[str, Any]) -> dict[str, Any]:
    """The filter that lets through what one of these policies allows."""
    rules = {"action": "ALLOW", "policies": policies}
    return named("envoy.filters.http.rbac", "filters.http.rbac.v3.RBAC", rules=rules)


def limit() -> dict[str, Any]:
    """A local token bucket."""
    always = {"default_value": {"numerator": 100}}
    bucket = {"max_tokens": PLENTY, "tokens_per_fill": PLENTY, "fill_interval": "1s"}
    return named(
        "envoy.filters.http.local_ratelimit",
        "filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="limit",
        token_bucket=bucket,
        filter_enabled=always,
        filter_enforced=always,
    )


def address(port: int) -> dict[str, Any]:
    """A port of this machine."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(
    port: int, pair: tuple[Path, Path], filters: list[dict[str, Any]], routes: list[dict[str, Any]]
) -> dict[str, Any]:
    """TLS, HTTP/2 and HTTP/1.1 in; no client certificate. `pair`: certificate and key."""
    router = named("envoy.filters.http.router", "filters.http.router.v3.Router")
    connections = named(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        codec_type="AUTO",
        http_filters=[*filters, router],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    )
    certificate = {
        "certificate_chain": {"filename": str(pair[0])},
        "private_key": {"filename": str(pair[1])},
    }
    tls = named(
        "tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [certificate],
        },
    )
    chain = {"filters": [connections], "transport_socket": tls}
    return {"address": address(port), "filter_chains": [chain]}


def cluster(name: str, port: int, *, h2: bool) -> dict[str, Any]:
    """A process of the tool server, with room for every stream of a load."""
    room = {"max_connections": 4_096, "max_pending_requests": 65_536, "max_requests": 65_536}
    endpoint = {"endpoint": {"address": address(port)}}
    kind = f"{TYPES}upstreams.http.v3.HttpProtocolOptions"
    spoken: dict[str, Any] = {"http2_protocol_options" if h2 else "http_protocol_options": {}}
    return {
        "name": name,
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [room]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            kind.removeprefix("type.googleapis.com/"): {
                "@type": kind,
                "explicit_http_config": spoken,
            }
        },
    }


def configuration(
    port: int, demand: Demand, certificate: Path, key: Path, *, tools: int, bulk: int, h2: bool
) -> str:
    """The whole of it, for `envoy --config-path`; with `h2`, the tools are spoken to in HTTP/2."""
    routes = [
        {"match": {"path": tool.path}, "route": {"cluster": tool.upstream, "timeout": "0s"}}
        for tool in TOOLS
    ]
    filters = [authentication(demand), authorization(), limit()]
    resources = {
        "listeners": [listener(port, (certificate, key), filters, routes)],
        "clusters": [cluster("tools", tools, h2=h2), cluster("bulk", bulk, h2=False)],
    }
    return json.dumps({"static_resources": resources}, indent=2)
