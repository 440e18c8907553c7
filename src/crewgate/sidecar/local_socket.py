"""Serves the unix socket over which CMD and its descendants, and no others, reach the gateway.

Only CMD's user may enter the folder and use the socket. The kernel names the process of each client
(`connected_process`): it must have that uid and descend from the sidecar, and the connection ends
when it ends. This module reads no byte of the traffic.
"""

import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import trio

from crewgate import limits
from crewgate.errors import SidecarError
from crewgate.lifecycle.orchestrator_socket_dir import DOOR, socket_dir
from crewgate.runtime.cleanup import lent, on_error
from crewgate.sidecar.connected_process import ConnectedProcess
from crewgate.sidecar.user import CommandUser

_log = logging.getLogger(__name__)
Handler = Callable[[trio.SocketStream], Awaitable[None]]


class LocalSocketServer:
    """A listening socket at `path`; use it in a `with`, which removes the socket at the end."""

    def __init__(self, path: Path | None, user: CommandUser, instance: bytes) -> None:
        """Listen at `path`, or else in a new folder of the instance; SidecarError."""
        self._user = user
        self._instance = instance
        self._is_new_folder = self._is_bound = False
        try:
            self.path = self._place(path)
            self._folder = self._open_folder(self.path.parent)
            with on_error(self._remove):
                _remove_stale(self._inside, self.path)
                self._socket = self._listen()
        except OSError as error:
            where = error.filename or path or "the folder for the local socket"
            raise SidecarError(f"{where}: cannot make the socket: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._socket.close()
        self._remove()

    async def serve(self, handler: Handler) -> None:
        """Run `handler` for each connection, with a bound on open ones, until cancelled."""
        slots = trio.Semaphore(limits.run_connections_max)
        listener = trio.socket.from_stdlib_socket(self._socket)
        async with trio.open_nursery() as nursery:
            while True:
                await slots.acquire()
                try:
                    connection, _ = await listener.accept()
                except OSError:  # no descriptor is free, or the client has gone
                    slots.release()
                    await trio.sleep(limits.accept_pause_seconds)
                    continue
                stream = trio.SocketStream(connection)
                nursery.start_soon(self._handle, stream, handler, slots)

    async def _handle(
        self, stream: trio.SocketStream, handler: Handler, slots: trio.Semaphore
    ) -> None:
        try:
            with ConnectedProcess(stream.socket) as peer:
                why = self._refusal(peer)
                if why:
                    _log.warning("%s", why)
                else:
                    await _while_runs(peer, handler, stream)
        except SidecarError as error:
            _log.warning("%s", error)
        except trio.BrokenResourceError:
            pass
        except Exception as error:  # noqa: BLE001 - one connection must not end the others
            _log.warning("closing a connection after an internal error: %r", error)
        finally:
            await trio.aclose_forcefully(stream)
            slots.release()

    def _remove(self) -> None:
        """Remove the socket by the folder's descriptor: CMD's user could replace the folder."""
        # CMD's user may have removed the socket, or put another file beside it.
        with suppress(OSError):
            if self._is_bound:
                os.unlink(self.path.name, dir_fd=self._folder)
        with suppress(OSError):
            if self._is_new_folder:
                self.path.parent.rmdir()
        os.close(self._folder)

    def _refusal(self, peer: ConnectedProcess) -> str:
        if peer.uid != self._user.uid:
            return f"refused a connection: process {peer.pid} of uid {peer.uid}, not CMD's"
        if not peer.descends_from(os.getpid()):
            return (
                f"refused a connection: process {peer.pid} is no descendant of CMD, or it has a "
                "sidecar of its own"
            )
        return ""

    @property
    def _inside(self) -> Path:
        """The socket's path through the folder's descriptor: a replaced folder changes nothing."""
        return Path(f"/proc/self/fd/{self._folder}") / self.path.name

    def _place(self, path: Path | None) -> Path:
        found = socket_dir(self._instance) / DOOR if path is None else path.absolute()
        try:
            found.parent.mkdir(mode=0o700)
            self._is_new_folder = True
        except FileExistsError:
            if path is None:
                raise
        return found

    def _open_folder(self, folder: Path) -> int:
        """Open and check the folder, in this order: the owner of its parent could replace it."""
        descriptor = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        with on_error(os.close, descriptor):
            self._check_folder(folder, descriptor)
        return descriptor

    def _check_folder(self, folder: Path, descriptor: int) -> None:
        """CMD's user must own an existing folder, this process a new one; others have no rights."""
        status = os.fstat(descriptor)
        uid = os.geteuid() if self._is_new_folder else self._user.uid
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
            raise SidecarError(
                f"{folder}: the socket's folder must belong to uid {self._user.uid}, CMD's; "
                "give a folder that does not exist yet"
            )
        if status.st_mode & 0o077:
            raise SidecarError(f"{folder}: other users have rights to it; chmod 700")
        if self._is_new_folder and os.listdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH208
            raise SidecarError(f"{folder}: another process replaced it while it was made")

    def _listen(self) -> socket.socket:
        if len(os.fsencode(self.path)) > limits.ipc_path_bytes_max:
            raise SidecarError(
                f"{self.path}: over {limits.ipc_path_bytes_max} bytes, the limit of unix sockets; "
                "give a shorter --socket"
            )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with on_error(listener.close):
            before = os.umask(0o177)
            try:
                listener.bind(str(self._inside))
                self._is_bound = True
            finally:
                os.umask(before)
            if not self._user.is_ours:
                self._change_owner()
            listener.listen(limits.ipc_backlog)
        return listener

    def _change_owner(self) -> None:
        """Give CMD's user the socket and a new folder, by descriptor: paths can be replaced."""
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        with lent(os.open(self.path.name, flags, dir_fd=self._folder)) as descriptor:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                raise SidecarError(f"{self.path}: another process replaced it while it was made")
            os.chown(f"/proc/self/fd/{descriptor}", self._user.uid, self._user.gid)
        if self._is_new_folder:
            os.chown(f"/proc/self/fd/{self._folder}", self._user.uid, self._user.gid)


async def _while_runs(peer: ConnectedProcess, handler: Handler, stream: trio.SocketStream) -> None:
    """Run the handler until it returns, or until the process that has connected ends.

    So no other process can go on with a connection that this process has passed on.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def cancel_at_end() -> None:
            await trio.lowlevel.wait_readable(peer.fileno())
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel_at_end)
        try:
            await handler(stream)
        except Exception as error:  # noqa: BLE001 - the nursery would wrap it in a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _remove_stale(path: Path, name: Path) -> None:
    """Remove the socket of a killed sidecar; `name` is the path for error messages."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if is_socket and probe.connect_ex(str(path)) != 0:
            path.unlink()
            return
    raise SidecarError(f"{name}: already exists; choose another --socket")
