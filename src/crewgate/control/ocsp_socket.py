"""OCSP for the workers of this machine: HTTP/1.1 on a unix socket, where answers are what counts.

Only the gateway's own user, its group and root get in. h11 reads and writes HTTP; a connection that
breaks it, or waits too long, is closed. The same answers are given under mutual TLS by the API.
"""

import logging
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import h11
import trio

from crewgate import limits
from crewgate.errors import ConfigurationError, LinkError
from crewgate.ipc.sockets import connectable, peer_of

OCSPAnswer = Callable[[bytes], Awaitable[bytes]]
_NAME = "ocsp.sock"
_MODE = 0o660
_STRANGERS_MAX = limits.ocsp_door_connections_max // 2
_log = logging.getLogger(__name__)


def listen(folder: Path) -> socket.socket:
    """A listening socket in the state folder, in place of any that a killed process left.

    ConfigurationError.
    """
    path = folder / _NAME
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
        with connectable(folder, _NAME) as where:
            listener.bind(where)
        # Nobody can connect before listen(), so the mode is right for the first who does.
        path.chmod(_MODE)
        listener.listen(limits.link_backlog)
    except (OSError, LinkError) as error:
        listener.close()
        raise ConfigurationError(f"{path}: cannot listen: {error}") from error
    return listener


class OCSPSocketServer:
    """Serves `answer`, from request to response, both DER."""

    def __init__(self, folder: Path, answer: OCSPAnswer) -> None:
        """Listen; ConfigurationError."""
        self._socket = listen(folder)
        self._group = (folder / _NAME).stat().st_gid
        self._owner = (folder / _NAME).stat().st_uid
        self._answer = answer
        self._room = trio.Semaphore(limits.ocsp_door_connections_max)
        self._unaccepted = 0

    async def serve(self) -> None:
        """Accept until cancelled."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        async with listener, trio.open_nursery() as nursery:
            while True:
                await self._room.acquire()
                try:
                    stream = await listener.accept()
                except OSError as error:  # no descriptor is left, or the client has gone
                    self._room.release()
                    _log.warning("no new OCSP connection: %s", error.strerror)
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
            self._room.release()

    async def _receive(self, stream: trio.SocketStream) -> None:
        """Serve whoever may come in; processes of other users cannot take all the places."""
        peer = peer_of(stream.socket)
        if peer.uid in {self._owner, 0}:
            await self._converse(stream)
        elif self._group in peer.groups and self._unaccepted < _STRANGERS_MAX:
            self._unaccepted += 1
            try:
                await self._converse(stream)
            finally:
                self._unaccepted -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
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
    """The body of the next request; None if there is none. h11.ProtocolError."""
    body = b""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(bytes(await stream.receive_some(limits.ocsp_head_bytes_max)))
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > limits.ocsp_request_bytes_max:
                raise h11.LocalProtocolError("an OCSP request over its bound")
        elif isinstance(event, h11.EndOfMessage):
            return body
        elif not isinstance(event, h11.Request):
            return None
