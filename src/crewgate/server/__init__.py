"""The edge: sockets, TLS 1.3, HTTP/1.1 and HTTP/2, turned into exchanges for an application."""

from crewgate.runtime.listening import listen
from crewgate.server.connection_authorizer import AuthorizedConnection
from crewgate.server.exchange import Exchange, ExchangeHandler
from crewgate.server.listener import Listener
from crewgate.server.poller import Poller
from crewgate.server.request import ClientInfo, Request
from crewgate.server.tls import ClientCertificateTrust, fingerprint, server_context

__all__ = [
    "AuthorizedConnection",
    "ClientCertificateTrust",
    "ClientInfo",
    "Exchange",
    "ExchangeHandler",
    "Listener",
    "Poller",
    "Request",
    "fingerprint",
    "listen",
    "server_context",
]
