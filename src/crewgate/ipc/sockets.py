"""The agent's two sockets: their addresses, connections, and the process on the other side.

A unix address holds 107 bytes. A longer path is reached through a descriptor of its folder
(`/proc/self/fd/N/name`), so the state folder may be anywhere.
"""

import enum
import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from crewgate import limits
from crewgate.errors import ConfigurationError, ServiceConnectionError
from crewgate.runtime.cleanup import lent, on_error
from crewgate.runtime.state_sockets import ATTACH_SOCKET, OWNER_SOCKET

# `struct ucred` of unix(7): pid, uid, gid.
_UCRED = struct.Struct("3i")
_SO_PEERGROUPS = 59  # Linux 4.13; Python names no constant for it
_GID = struct.Struct("I")


class AgentSocketKind(enum.Enum):
    """The attach socket (GROUP) and the admin socket (OWNER), by the names of their files.

    Processes of the socket file's group attach and draw at the first. Only the service's user may
    use the second: to revoke, and for the tree, the status and reloads.
    """

    GROUP = ATTACH_SOCKET
    OWNER = OWNER_SOCKET

    @property
    def mode(self) -> int:
        """The mode of the socket's file; a process needs the right to write to connect."""
        return 0o660 if self is AgentSocketKind.GROUP else 0o600


class SupportsGetsockopt(Protocol):
    """A socket, of the standard library or of an event loop."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """See `socket.socket.getsockopt`."""


class ProcessCredentials(msgspec.Struct, frozen=True):
    """The user and groups of a process when it connected (SO_PEERCRED, SO_PEERGROUPS)."""

    pid: int
    uid: int
    groups: frozenset[int]


def peer_of(connection: SupportsGetsockopt) -> ProcessCredentials:
    """Return the process on the other side; for a client, the process that called listen()."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    # NGROUPS_MAX is 65,536; of a process in more than 1,024 groups only its first group counts.
    try:
        more = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024 * _GID.size)
    except OSError:
        more = b""
    supplementary = (group for (group,) in _GID.iter_unpack(more))
    return ProcessCredentials(pid=pid, uid=uid, groups=frozenset((gid, *supplementary)))


def may_enter(
    agent_socket: AgentSocketKind, peer: ProcessCredentials, owner: int, group: int
) -> bool:
    """Return whether a process may use a socket of user `owner` and group `group`.

    The mode of the socket's file has the same rule. This checks each connection too, because a
    person can widen a mode by mistake, and a process can pass a descriptor on. Root may use both
    sockets: it could become the owner anyway.
    """
    if peer.uid in {owner, 0}:
        return True
    return agent_socket is AgentSocketKind.GROUP and group in peer.groups


@contextmanager
def connectable(folder: Path, name: str) -> Iterator[str]:
    """Yield an address that fits bind() and connect(); it is valid inside the `with`.

    Raises ServiceConnectionError if the folder cannot be opened.
    """
    path = folder / name
    if len(os.fsencode(path)) <= limits.ipc_path_bytes_max:
        yield str(path)
        return
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ServiceConnectionError(
            f"{folder}: cannot open the state folder: {error.strerror}; start `crewgate serve`, or "
            "name the right configuration"
        ) from error
    with lent(descriptor):
        yield f"/proc/self/fd/{descriptor}/{name}"


def listen(folder: Path, name: str, mode: int) -> socket.socket:
    """Listen at a new socket of the folder. Raises OSError and ServiceConnectionError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with on_error(listener.close), connectable(folder, name) as where:
        listener.bind(where)
        # No process can connect before listen(), so the mode holds for the first one.
        (folder / name).chmod(mode)
        listener.listen(limits.ipc_backlog)
    return listener


def listen_anew(folder: Path, name: str, mode: int) -> socket.socket:
    """Listen at a socket of the folder, in the place of one that a killed process has left.

    Raises ConfigurationError, also if a process still listens there.
    """
    path = folder / name
    try:
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode) and _is_left(folder, name):
            path.unlink()
        return listen(folder, name, mode)
    except (OSError, ServiceConnectionError) as error:
        why = str(error)
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            why = "a program listens here, or a file is here; end the program, or give another path"
        raise ConfigurationError(f"{path}: cannot listen: {why}") from error


def _is_left(folder: Path, name: str) -> bool:
    """Return whether no process listens at a socket. Raises OSError."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client,
        connectable(folder, name) as where,
    ):
        client.settimeout(0)
        try:
            client.connect(where)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:  # the process takes no connection now: many others wait
            pass
        return False


def connect(
    folder: Path, agent_socket: AgentSocketKind, seconds: float = limits.ipc_seconds_max
) -> socket.socket:
    """Connect to the agent whose state is in `folder`; return a blocking stream.

    `seconds` bounds each call on the stream. Raises ServiceConnectionError, with what to do about
    it, if no agent listens or this process may not connect.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with on_error(connection.close):
        try:
            connection.settimeout(seconds)
            with connectable(folder, agent_socket.value) as where:
                connection.connect(where)
        except OSError as error:
            why = _why(error, folder, agent_socket)
            raise ServiceConnectionError(f"{folder / agent_socket.value}: {why}") from error
    return connection


def _why(error: OSError, folder: Path, agent_socket: AgentSocketKind) -> str:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return "no agent listens here: start one with `crewgate serve`"
    if isinstance(error, PermissionError):
        group = " or a user of its group" if agent_socket is AgentSocketKind.GROUP else ""
        return f"permission denied: run this as {_owner(folder)}{group}"
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return "the agent does not answer: it is stopped or very busy; see its log"
    return error.strerror or str(error)


def _owner(folder: Path) -> str:
    """Return who runs the service, as far as the file system tells it."""
    try:
        return f"user {folder.owner()}"
    except (OSError, KeyError):
        return "the service's user"


def descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that recvmsg() returned beside the data; the caller owns them.

    `socket.recv_fds` of Python 3.11 ignores its flags, so MSG_CMSG_CLOEXEC needs recvmsg().
    """
    size = struct.calcsize("i")
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = data[: len(data) - len(data) % size]
            found += [number for (number,) in struct.iter_unpack("i", whole)]
    return found
