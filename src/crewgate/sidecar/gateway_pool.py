"""Holds the connections of a sidecar to the gateway; calls share them (HTTP/2).

A certificate can be renewed: then a new pool has it, and the old pool ends after its last call.
"""

import ssl
import time

import trio

from crewgate import limits
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config.upstream import UpstreamConfig, UpstreamTLS
from crewgate.config.upstream_origin import UpstreamOrigin
from crewgate.issuer.control_api.gateway_address import GatewayAddress
from crewgate.sidecar.forwarded_call import ForwardedCall
from crewgate.upstream.connector import Connector
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver


class GatewayPool:
    """The connections to one gateway; `use` before the first call."""

    def __init__(self, gateway: GatewayAddress, poller: SocketPoller) -> None:
        self._config = UpstreamConfig(
            name="gateway",
            endpoints=(UpstreamOrigin("https", gateway.host, gateway.port),),
            protocol="h2",
            tls=UpstreamTLS(server_name=gateway.server_name),
            host=gateway.authority,
            connect_seconds=2 * limits.run_connect_seconds_max,
            first_byte_seconds=limits.sidecar_answer_seconds_max,
            idle_seconds=limits.sidecar_answer_seconds_max,
            connections=limits.sidecar_gateway_connections_max,
        )
        self._poller = poller
        self._resolver = Resolver()
        self._pools: list[UpstreamPool] = []  # the last one gets new calls
        self._nursery: trio.Nursery | None = None

    def use(self, context: ssl.SSLContext) -> None:
        """Open further connections with this context, which verifies name and chain."""
        pool = UpstreamPool(
            self._config, Connector(self._config, self._poller, context), self._resolver
        )
        for old in self._pools:
            old.close()
        self._pools.append(pool)
        if self._nursery is not None:
            self._nursery.start_soon(self._run, pool)

    def start(self, call: ForwardedCall) -> None:
        """Carry a call as soon as there is a connection for it."""
        self._pools[-1].start_without_permit(call)

    def sweep(self) -> None:
        """End what is overdue; call this once a second."""
        for pool in list(self._pools):
            pool.sweep(time.monotonic())

    async def run(self) -> None:
        """Open connections until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._resolver.run)
            for pool in self._pools:
                self._nursery.start_soon(self._run, pool)

    async def _run(self, pool: UpstreamPool) -> None:
        try:
            await pool.run()
        finally:
            self._pools.remove(pool)
