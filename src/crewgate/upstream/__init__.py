"""Tools' servers: HTTP over kept connections, opened by a `Permit` and by nothing else."""

from crewgate.upstream.connector import Connector
from crewgate.upstream.interfaces import (
    CallObserver,
    RequestHead,
    RequestStream,
    Response,
    ReuseKey,
)
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver
from crewgate.upstream.tls import client_context, fingerprint

__all__ = [
    "CallObserver",
    "Connector",
    "RequestHead",
    "RequestStream",
    "Resolver",
    "Response",
    "ReuseKey",
    "UpstreamPool",
    "client_context",
    "fingerprint",
]
