"""Serves clients: accepts connections over TLS 1.3 and hands requests to an application.

A `Listener` accepts. A `ClientConnection` shakes hands, lets a `ConnectionAuthorizer` judge the
client's certificate, and passes bytes to `HTTP1` or `HTTP2`, which make one `Exchange` of each
request. A `SocketPoller` shares one event loop turn among all ready sockets of a worker, and also
accepts in its turns. So a connection needs no Trio task.
Apart from these, `PlaintextHTTP1Server` answers the probes and the OCSP requests of a machine.

Invariants: no byte of HTTP is read before the handshake and the authorizer have accepted the
client. An error in one connection ends no other. Each buffer, wait and count has a bound in
`crewgate.limits`.
"""
