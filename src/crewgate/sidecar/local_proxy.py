"""Forwards the requests of CMD to the gateway, with credentials that CMD never has."""

import logging
import socket
from email.utils import formatdate

import trio

from crewgate import limits
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.core import problems
from crewgate.issuer.control_api.gateway_address import GatewayAddress
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.server.exchange import Exchange
from crewgate.sidecar.extension_relay import EXTENSION_PATH, ExtensionRelay
from crewgate.sidecar.forwarded_call import CallCredentials, ForwardedCall
from crewgate.sidecar.gateway_pool import GatewayPool
from crewgate.sidecar.local_connection import LocalConnection

_log = logging.getLogger(__name__)


class LocalProxy:
    """The proxy between the local socket and one gateway; the `ConnectionClock` of connections.

    `extensions` takes the requests for an extension; without it, they go to the gateway too.

    Run it with `trio.run(…, clock=TurnClock())`: then its turns cost least.
    """

    def __init__(
        self,
        gateway: GatewayAddress,
        credentials: CallCredentials,
        extensions: ExtensionRelay | None = None,
    ) -> None:
        self.now = 0.0
        self.date = b""
        self._poller = SocketPoller()
        self.gateway = GatewayPool(gateway, self._poller)
        self._credentials = credentials
        self._extensions = extensions
        self._connections: set[LocalConnection] = set()
        self._calls: set[ForwardedCall] = set()

    async def run(self) -> None:
        """Take turns until cancelled; connections are served meanwhile."""
        self._tick()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._poller.run)
                nursery.start_soon(self.gateway.run)
                while True:
                    await sleep_until_tick(limits.sweep_seconds)
                    self._tick()
                    self.gateway.sweep()
                    for connection in list(self._connections):
                        connection.sweep()
        finally:
            self._poller.close()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection of CMD until it ends, and close it."""
        self._tick()
        with socket.socket(fileno=stream.socket.detach()) as sock:
            connection = LocalConnection(sock, self._poller, self, self._forward)
            self._connections.add(connection)
            try:
                await connection.serve()
            finally:
                self._connections.discard(connection)

    def _forward(self, exchange: Exchange) -> None:
        if self._extensions is not None and exchange.request.target == EXTENSION_PATH:
            self._extensions.start(exchange)
        elif len(self._calls) >= limits.sidecar_calls_max:
            exchange.respond(*problems.of_wire(429, exchange.request.headers))
        else:
            call = ForwardedCall(exchange, self.gateway, self._credentials, self._calls.discard)
            self._calls.add(call)
            call.start()

    def _tick(self) -> None:
        self.now = trio.current_time()
        self.date = formatdate(usegmt=True).encode()
