"""Serves OCSP to this machine's workers: HTTP/1.1 on a unix socket.

Only the gateway's user, its group and root may connect. A connection that violates HTTP, or is idle
for too long, is closed. The control API gives the same answers over mutual TLS.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import h11
import trio

from crewgate import limits
from crewgate.ipc import sockets
from crewgate.ipc.sockets import peer_of

OCSPAnswer = Callable[[bytes], Awaitable[bytes]]
_NAME = "ocsp.sock"
_MODE = 0o660
_GROUP_CONNECTIONS_MAX = limits.ocsp_socket_connections_max // 2
_log = logging.getLogger(__name__)


class OCSPSocketServer:
    """Passes each request to `answer`, which returns the response, both DER."""

    def __init__(self, folder: Path, answer: OCSPAnswer) -> None:
        """Listen; ConfigurationError."""
        self._socket = sockets.listen_anew(folder, _NAME, _MODE)
        self._group = (folder / _NAME).stat().st_gid
        self._owner = (folder / _NAME).stat().st_uid
        self._answer = answer
        self._slots = trio.Semaphore(limits.ocsp_socket_connections_max)
        self._group_connections = 0

    async def serve(self) -> None:
        """Accept until cancelled."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        async with listener, trio.open_nursery() as nursery:
            while True:
                await self._slots.acquire()
                try:
                    stream = await listener.accept()
                except OSError as error:  # no descriptor is left, or the client has gone
                    self._slots.release()
                    _log.warning("cannot accept an OCSP connection: %s", error.strerror)
                    await trio.sleep(limits.accept_pause_seconds)
                    continue
                nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await self._receive(stream)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, h11.ProtocolError):
            return
        finally:
            self._slots.release()

    async def _receive(self, stream: trio.SocketStream) -> None:
        """Serve a permitted client; other users of the group can take half of the slots."""
        peer = peer_of(stream.socket)
        if peer.uid in {self._owner, 0}:
            await self._answer_all(stream)
        elif self._group in peer.groups and self._group_connections < _GROUP_CONNECTIONS_MAX:
            self._group_connections += 1
            try:
                await self._answer_all(stream)
            finally:
                self._group_connections -= 1

    async def _answer_all(self, stream: trio.SocketStream) -> None:
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.ocsp_head_bytes_max)
        while True:
            with trio.fail_after(limits.idle_seconds_max):
                body = await _request(stream, wire)
            if body is None:
                return
            data = await self._answer(body)
            headers = [
                (b"content-type", b"application/ocsp-response"),
                (b"content-length", b"%d" % len(data)),
            ]
            head = h11.Response(status_code=200, headers=headers)
            with trio.fail_after(limits.idle_seconds_max):
                for event in (head, h11.Data(data=data), h11.EndOfMessage()):
                    await stream.send_all(wire.send(event) or b"")
            if wire.our_state is not h11.DONE:
                return
            wire.start_next_cycle()


async def _request(stream: trio.SocketStream, wire: h11.Connection) -> bytes | None:
    """Return the body of the next request; None if there is none. h11.ProtocolError."""
    body = b""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(bytes(await stream.receive_some(limits.ocsp_head_bytes_max)))
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > limits.ocsp_request_bytes_max:
                raise h11.LocalProtocolError("the OCSP request is too long")
        elif isinstance(event, h11.EndOfMessage):
            return body
        elif not isinstance(event, h11.Request):
            return None
