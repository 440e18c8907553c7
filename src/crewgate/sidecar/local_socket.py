"""The local door of an orchestrator: a unix socket for CMD and what it starts, and for nobody else.

The folder is CMD's user's alone, and so is the socket; who connects must have that uid by the
kernel's word (SO_PEERCRED) and descend from the supervisor. Reads no byte of what is said.
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
from crewgate.ipc.sockets import peer_of
from crewgate.lifecycle.processes import is_below
from crewgate.lifecycle.socket_dir import DOOR, socket_dir
from crewgate.sidecar.user import CommandUser

_log = logging.getLogger(__name__)
Carry = Callable[[trio.SocketStream], Awaitable[None]]


class LocalSocketServer:
    """A listening socket at `path`; use it in a `with`, which takes it away again."""

    def __init__(self, path: Path | None, user: CommandUser, instance: bytes) -> None:
        """At `path`, else in a new folder of the instance. SidecarError: what is in the way."""
        self._user = user
        self._instance = instance
        self._is_made = self._is_bound = False
        try:
            self.path = self._place(path)
            self._folder = self._enter(self.path.parent)
            try:
                _clear(self._inside, self.path)
                self._socket = self._listen()
            except BaseException:
                self._take_away()
                raise
        except OSError as error:
            where = error.filename or path or "a folder for the door"
            raise SidecarError(f"{where}: no door can be made here: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._socket.close()
        self._take_away()

    async def serve(self, carry: Carry) -> None:
        """Have `carry` serve each connection, so many at once; until cancelled."""
        places = trio.Semaphore(limits.run_connections_max)
        listener = trio.socket.from_stdlib_socket(self._socket)
        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                try:
                    connection, _ = await listener.accept()
                except OSError:  # no descriptor is free, or it was given up
                    places.release()
                    await trio.sleep(limits.accept_pause_seconds)
                    continue
                stream = trio.SocketStream(connection)
                nursery.start_soon(self._converse, stream, carry, places)

    async def _converse(
        self, stream: trio.SocketStream, carry: Carry, places: trio.Semaphore
    ) -> None:
        try:
            why = self._refusal(stream)
            if why:
                _log.warning("%s", why)
            else:
                await carry(stream)
        except SidecarError as error:
            _log.warning("%s", error)
        except trio.BrokenResourceError:
            pass
        except Exception as error:  # noqa: BLE001 - the barrier round one connection
            _log.warning("a connection ended by an error of ours: %r", error)
        finally:
            await trio.aclose_forcefully(stream)
            places.release()

    def _take_away(self) -> None:
        """By the folder's descriptor: its owner could put another in its place."""
        with suppress(OSError):  # CMD's user took it away
            if self._is_bound:
                os.unlink(self.path.name, dir_fd=self._folder)
        with suppress(OSError):  # or put something beside it
            if self._is_made:
                self.path.parent.rmdir()
        os.close(self._folder)

    def _refusal(self, stream: trio.SocketStream) -> str:
        peer = peer_of(stream.socket)
        if peer.uid != self._user.uid:
            return f"refused at the door: process {peer.pid} of uid {peer.uid}"
        if not is_below(peer.pid, os.getpid()):
            return f"refused at the door: process {peer.pid} is none of this orchestrator's"
        return ""

    @property
    def _inside(self) -> Path:
        """The door by its folder's descriptor: the same folder, whatever is put at its path."""
        return Path(f"/proc/self/fd/{self._folder}") / self.path.name

    def _place(self, path: Path | None) -> Path:
        if path is None:
            folder = socket_dir(self._instance)
            folder.mkdir(mode=0o700)
            self._is_made = True
            return folder / DOOR
        path = path.absolute()
        try:
            path.parent.mkdir(mode=0o700)
            self._is_made = True
        except FileExistsError:
            pass
        return path

    def _enter(self, folder: Path) -> int:
        """Its descriptor, judged: whoever owns the folder above could put another in its place."""
        descriptor = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._judge(folder, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _judge(self, folder: Path, descriptor: int) -> None:
        """One that was there is CMD's user's, a new one still ours; closed to everybody else."""
        status = os.fstat(descriptor)
        uid = os.geteuid() if self._is_made else self._user.uid
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
            raise SidecarError(
                f"{folder}: the door's folder must belong to uid {self._user.uid}, CMD's; "
                "give a folder that is not there yet"
            )
        if status.st_mode & 0o077:
            raise SidecarError(f"{folder}: others may look in here; chmod 700")
        if self._is_made and os.listdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH208
            raise SidecarError(f"{folder}: was replaced while it was made")

    def _listen(self) -> socket.socket:
        if len(os.fsencode(self.path)) > limits.link_path_bytes_max:
            raise SidecarError(
                f"{self.path}: over {limits.link_path_bytes_max} bytes, which no unix socket has"
            )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177)
            try:
                listener.bind(str(self._inside))
                self._is_bound = True
            finally:
                os.umask(before)
            if not self._user.is_ours:
                self._give_away()
            listener.listen(limits.link_backlog)
        except BaseException:
            listener.close()
            raise
        return listener

    def _give_away(self) -> None:
        """To CMD's user: the socket, and the folder if it is new.

        By descriptors: in a folder of its own, that user could put another thing in the place.
        """
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path.name, flags, dir_fd=self._folder)
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                raise SidecarError(f"{self.path}: was replaced while it was made")
            os.chown(f"/proc/self/fd/{descriptor}", self._user.uid, self._user.gid)
        finally:
            os.close(descriptor)
        if self._is_made:
            os.chown(f"/proc/self/fd/{self._folder}", self._user.uid, self._user.gid)


def _clear(path: Path, name: Path) -> None:
    """Take away the socket that a supervisor left which was killed; people know it by `name`."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        if is_socket and knock.connect_ex(str(path)) != 0:
            path.unlink()
            return
    raise SidecarError(f"{name}: is there already; choose another --socket")
