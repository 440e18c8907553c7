"""The agent's two listening sockets: who may come in, and a barrier round each who does."""

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from crewgate import limits
from crewgate.agent.ipc_server import admin_session, attach_session
from crewgate.agent.ipc_server.message_stream import ConnectionClosedError
from crewgate.agent.state import AgentState
from crewgate.errors import LinkError
from crewgate.ipc.sockets import AgentSocketKind, ProcessCredentials, address, may_enter, peer_of

_log = logging.getLogger(__name__)
Converse = Callable[[AgentState, trio.SocketStream], Awaitable[None]]


def listen(folder: Path, door: AgentSocketKind) -> socket.socket:
    """A listening socket in place of any that a killed agent left; LinkError.

    The caller holds the table's lock, so no living agent listens there.
    """
    path = folder / door.value
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with address(folder, door) as where:
            listener.bind(where)
        # Nobody can connect before listen(), so the mode is right for the first who does.
        path.chmod(door.mode)
        listener.listen(limits.link_backlog)
    except OSError as error:
        listener.close()
        raise LinkError(f"{path}: cannot listen: {error.strerror}") from error
    return listener


class IPCServer:
    """One door: judges who connects and serves each connection behind a barrier."""

    def __init__(self, agent: AgentState, socket: AgentSocketKind) -> None:
        self._machine = agent
        self._agent_socket = socket
        self._converse: Converse = (
            attach_session.serve_process
            if socket is AgentSocketKind.GROUP
            else admin_session.converse
        )
        folder = agent.active_config.config.state
        self._socket = listen(folder, socket)
        self._path = folder / socket.value
        self._group = self._path.stat().st_gid
        self._inside = 0
        self._unaccepted = 0  # of those, processes of other users

    async def serve(self) -> None:
        """Accept until cancelled; takes the socket's file away at the end."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        try:
            await trio.serve_listeners(self._receive, [listener])
        finally:
            self._path.unlink(missing_ok=True)

    async def _receive(self, stream: trio.SocketStream) -> None:
        async with stream:
            peer = peer_of(stream.socket)
            stranger = peer.uid not in {os.geteuid(), 0}
            if self._is_full(stranger=stranger) or not self._may_enter(peer):
                return
            self._inside += 1
            self._unaccepted += stranger
            try:
                await self._converse(self._machine, stream)
            except ConnectionClosedError:
                return
            except LinkError as error:
                _log.warning("process %d of user %d: %s", peer.pid, peer.uid, error)
            except Exception as error:  # noqa: BLE001  -- one connection must not end the agent
                _log.warning("a fault of ours with process %d: %r", peer.pid, error)
            finally:
                self._inside -= 1
                self._unaccepted -= stranger

    def _is_full(self, *, stranger: bool) -> bool:
        """No place is left, or none for processes of other users: they cannot keep ours out."""
        return self._inside >= limits.link_connections_max or (
            stranger and self._unaccepted >= limits.link_strangers_max
        )

    def _may_enter(self, peer: ProcessCredentials) -> bool:
        if may_enter(self._agent_socket, peer, os.geteuid(), self._group):
            return True
        _log.warning(
            "user %d (process %d) may not use %s: refused",
            peer.uid,
            peer.pid,
            self._agent_socket.value,
        )
        return False
