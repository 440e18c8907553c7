"""Serves OCSP to this machine's workers: HTTP/1.1 on a unix socket.

Only the gateway's user, its group and root may connect. The control API gives the same answers over
mutual TLS.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from crewgate import limits
from crewgate.ipc import sockets
from crewgate.ipc.sockets import peer_of
from crewgate.runtime.state_sockets import OCSP_SOCKET
from crewgate.server.plaintext_http1 import (
    PlaintextBounds,
    PlaintextHTTP1Server,
    PlaintextRequest,
    PlaintextResponse,
)

OCSPAnswer = Callable[[bytes], Awaitable[bytes]]
_MODE = 0o660
_GROUP_CONNECTIONS_MAX = limits.ocsp_socket_connections_max // 2
_MEDIA = "application/ocsp-response"  # RFC 6960, appendix A.2
_UNREAD = b"send a request of at most %d bytes\n" % limits.ocsp_request_bytes_max
_BOUNDS = PlaintextBounds(
    connections_max=limits.ocsp_socket_connections_max,
    head_bytes_max=limits.ocsp_head_bytes_max,
    body_bytes_max=limits.ocsp_request_bytes_max,
    request_seconds=limits.ipc_seconds_max,
    response_seconds=limits.ipc_seconds_max,
    idle_seconds=limits.idle_seconds_max,
)


class OCSPSocketServer:
    """Passes each request to `answer`, which returns the response, both DER."""

    def __init__(self, folder: Path, answer: OCSPAnswer) -> None:
        """Listen; ConfigurationError."""
        self._socket = sockets.listen_anew(folder, OCSP_SOCKET, _MODE)
        self._group = (folder / OCSP_SOCKET).stat().st_gid
        self._owner = (folder / OCSP_SOCKET).stat().st_uid
        self._answer = answer
        self._group_connections = 0

    async def serve(self) -> None:
        """Accept until cancelled."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        await PlaintextHTTP1Server(
            listener, self._respond, _BOUNDS, name="OCSP", permit=self._permit
        ).run()

    @contextmanager
    def _permit(self, sock: trio.socket.SocketType) -> Iterator[bool]:
        """Permit a client; other users of the group can take half of the connections."""
        peer = peer_of(sock)
        if peer.uid in {self._owner, 0}:
            yield True
        elif self._group in peer.groups and self._group_connections < _GROUP_CONNECTIONS_MAX:
            self._group_connections += 1
            try:
                yield True
            finally:
                self._group_connections -= 1
        else:
            yield False

    async def _respond(self, request: PlaintextRequest) -> PlaintextResponse:
        if request.body is None:
            return PlaintextResponse(400, _UNREAD)
        return PlaintextResponse(200, await self._answer(request.body), _MEDIA)
