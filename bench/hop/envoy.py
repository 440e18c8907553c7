"""Envoy's configuration for the nearest work: token, a claim and the path, a rate limit, forward.

Signature and times are checked by jwt_authn with its token cache, as Crewgate's verdicts are
cached too; RBAC wants the tool in the token's `allowed_tools` and the tool's path. Envoy keeps no
credits, no revocations and no audit here: what it does is less.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TYPES = "type.googleapis.com/envoy.extensions."
PLENTY = 10_000_000  # a second; the limit is asked and never reached
CACHED_TOKENS = 1_000


@dataclass(frozen=True)
class Demand:
    """What a token must say, and where the keys are."""

    issuer: str
    audience: str
    jwks: Path
    tool: str
    path: str


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


def authorization(demand: Demand) -> dict[str, Any]:
    """The tool's path, for tokens that list the tool."""
    claim = {
        "metadata_source": "DYNAMIC",
        "metadata_matcher": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{"key": "claims"}, {"key": "allowed_tools"}],
            "value": {"list_match": {"one_of": {"string_match": {"exact": demand.tool}}}},
        },
    }
    policy = {
        "permissions": [{"url_path": {"path": {"exact": demand.path}}}],
        "principals": [{"sourced_metadata": claim}],
    }
    rules = {"action": "ALLOW", "policies": {demand.tool: policy}}
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


def listener(port: int, demand: Demand, certificate: Path, key: Path) -> dict[str, Any]:
    """TLS, HTTP/2 and HTTP/1.1 in; no client certificate."""
    router = named("envoy.filters.http.router", "filters.http.router.v3.Router")
    route = {"match": {"prefix": "/"}, "route": {"cluster": "tools"}}
    connections = named(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        codec_type="AUTO",
        http_filters=[authentication(demand), authorization(demand), limit(), router],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    )
    pair = {
        "certificate_chain": {"filename": str(certificate)},
        "private_key": {"filename": str(key)},
    }
    tls = named(
        "tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [pair]},
    )
    chain = {"filters": [connections], "transport_socket": tls}
    return {"address": address(port), "filter_chains": [chain]}


def cluster(port: int) -> dict[str, Any]:
    """The tool server, over HTTP/1.1, with room for every stream of a load."""
    room = {"max_connections": 4_096, "max_pending_requests": 65_536, "max_requests": 65_536}
    endpoint = {"endpoint": {"address": address(port)}}
    return {
        "name": "tools",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [room]},
        "load_assignment": {"cluster_name": "tools", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def configuration(port: int, upstream: int, demand: Demand, certificate: Path, key: Path) -> str:
    """The whole of it, for `envoy --config-path`."""
    listeners = [listener(port, demand, certificate, key)]
    resources = {"listeners": listeners, "clusters": [cluster(upstream)]}
    return json.dumps({"static_resources": resources}, indent=2)
