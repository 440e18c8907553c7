"""Describes a request for its records, before anything is decided about it."""

import time
from functools import lru_cache

from crewgate._native.request_id import RequestIds
from crewgate.core.audit.network_prefix import peer_network
from crewgate.core.audit.records import CallInfo
from crewgate.core.trace_context import TraceContext
from crewgate.server.exchange import Exchange

network_of = lru_cache(maxsize=4096)(peer_network)


@lru_cache(maxsize=64)
def _method(method: bytes) -> str:
    return method.decode("ascii")


def describe(
    exchange: Exchange, listener: str, ids: RequestIds, tool: str, trace: TraceContext | None
) -> CallInfo:
    """Return the facts of a request that has just arrived; `tool` is empty if there is none."""
    return CallInfo(
        time.time_ns(),
        exchange.request_id or next(ids),
        listener,
        network_of(exchange.peer.address),
        tool,
        _method(exchange.request.method),
        exchange.peer.serial_text,
        "" if trace is None else trace.text,
        time.monotonic_ns(),
    )
