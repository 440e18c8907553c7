"""The edge: sockets, TLS 1.3, HTTP/1.1 and HTTP/2, turned into exchanges for an application."""

from crewgate.runtime.listening import listen
from crewgate.server.connection_guard import Guest
from crewgate.server.exchange import Application, Exchange
from crewgate.server.listener import Listener
from crewgate.server.poller import Poller
from crewgate.server.request import Field, Peer, Request
from crewgate.server.tls import Clients, fingerprint, server_context

__all__ = [
    "Application",
    "Clients",
    "Exchange",
    "Field",
    "Guest",
    "Listener",
    "Peer",
    "Poller",
    "Request",
    "fingerprint",
    "listen",
    "server_context",
]
