"""Tools' servers: HTTP over kept connections, opened by a `Permit` and by nothing else."""

from crewgate.upstream.connector import Opener
from crewgate.upstream.interfaces import Answer, Caller, Carrier, Head, ReuseKey
from crewgate.upstream.pool import Pool
from crewgate.upstream.resolver import Resolver
from crewgate.upstream.tls import client_context, fingerprint

__all__ = [
    "Answer",
    "Caller",
    "Carrier",
    "Head",
    "Opener",
    "Pool",
    "Resolver",
    "ReuseKey",
    "client_context",
    "fingerprint",
]
