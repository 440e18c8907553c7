"""Serves clients: accepts connections over TLS 1.3 and hands requests to an application.

A `Listener` accepts. A `ClientConnection` shakes hands, lets a `ConnectionAuthorizer` judge the
client's certificate, and passes bytes to `HTTP1` or `HTTP2`, which make one `Exchange` of each
request. A `SocketPoller` shares one event loop turn among all ready sockets of a worker.

Invariants: no byte of HTTP is read before the handshake and the authorizer have accepted the
client. An error in one connection ends no other. Each buffer, wait and count has a bound in
`crewgate.limits`.
"""

from crewgate.runtime.listening import listen
from crewgate.server.connection_authorizer import ClosableConnection
from crewgate.server.exchange import Exchange, ExchangeHandler
from crewgate.server.listener import Listener
from crewgate.server.request import ClientInfo, Request
from crewgate.server.socket_poller import SocketPoller
from crewgate.server.tls import ClientCertificateTrust, fingerprint, server_context

__all__ = [
    "ClientCertificateTrust",
    "ClientInfo",
    "ClosableConnection",
    "Exchange",
    "ExchangeHandler",
    "Listener",
    "Request",
    "SocketPoller",
    "fingerprint",
    "listen",
    "server_context",
]
