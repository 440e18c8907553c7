"""Listens at the agent's two sockets, checks each process that connects, and serves it."""

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
from crewgate.errors import ServiceConnectionError
from crewgate.ipc import sockets
from crewgate.ipc.sockets import AgentSocketKind, ProcessCredentials, may_enter, peer_of

_log = logging.getLogger(__name__)
_SERVE: dict[AgentSocketKind, Callable[[AgentState, trio.SocketStream], Awaitable[None]]] = {
    AgentSocketKind.GROUP: attach_session.serve_process,
    AgentSocketKind.OWNER: admin_session.converse,
}


def listen(folder: Path, kind: AgentSocketKind) -> socket.socket:
    """Return a listening socket, in place of one that a killed agent left.

    Raises ServiceConnectionError.

    The caller holds the table's lock, so no other agent listens there.
    """
    path = folder / kind.value
    try:
        path.unlink(missing_ok=True)
        return sockets.listen(folder, kind.value, kind.mode)
    except OSError as error:
        raise ServiceConnectionError(f"{path}: cannot listen: {error.strerror}") from error


class IPCServer:
    """One socket. An error of one connection does not reach the others or the agent."""

    def __init__(self, agent: AgentState, socket: AgentSocketKind) -> None:
        self._agent = agent
        self._agent_socket = socket
        self._serve_connection = _SERVE[socket]
        folder = agent.active_config.config.state
        self._socket = listen(folder, socket)
        self._path = folder / socket.value
        self._group = self._path.stat().st_gid
        self._open = 0
        # How many of those are processes of other users.
        self._foreign = 0

    async def serve(self) -> None:
        """Accept connections until cancelled; then remove the socket's file."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        try:
            await trio.serve_listeners(self._receive, [listener])
        finally:
            self._path.unlink(missing_ok=True)

    async def _receive(self, stream: trio.SocketStream) -> None:
        async with stream:
            peer = peer_of(stream.socket)
            is_foreign = peer.uid not in {os.geteuid(), 0}
            if self._is_full(is_foreign=is_foreign) or not self._may_enter(peer):
                return
            self._open += 1
            self._foreign += is_foreign
            try:
                await self._serve_connection(self._agent, stream)
            except ConnectionClosedError:
                return
            except ServiceConnectionError as error:
                _log.warning("process %d of user %d: %s", peer.pid, peer.uid, error)
            except Exception as error:  # noqa: BLE001  -- one connection must not end the agent
                _log.warning("internal error while serving process %d: %r", peer.pid, error)
            finally:
                self._open -= 1
                self._foreign -= is_foreign

    def _is_full(self, *, is_foreign: bool) -> bool:
        """Return whether no place is left; processes of other users may take only some places."""
        is_crowded = is_foreign and self._foreign >= limits.ipc_other_users_max
        return is_crowded or self._open >= limits.ipc_connections_max

    def _may_enter(self, peer: ProcessCredentials) -> bool:
        if may_enter(self._agent_socket, peer, os.geteuid(), self._group):
            return True
        _log.warning(
            "user %d (process %d) may not use %s; connection refused",
            peer.uid,
            peer.pid,
            self._agent_socket.value,
        )
        return False
