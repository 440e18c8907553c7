"""Where the agent's two sockets are, how they are reached, and who stands on the other side.

Knows nothing of messages. A unix address holds 107 bytes; a longer one is reached through a
descriptor of its folder (`/proc/self/fd/N/name`), so a state folder may be anywhere.
"""

import enum
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from crewgate import limits
from crewgate.errors import LinkError

# `struct ucred` of unix(7): pid, uid, gid.
_UCRED = struct.Struct("3i")
_SO_PEERGROUPS = 59  # Linux 4.13; Python names no constant for it
_GID = struct.Struct("I")


class AgentSocket(enum.Enum):
    """The group's door (attach, draw) and the owner's (revoke, tree, status, reload)."""

    GROUP = "agent.sock"
    OWNER = "owner.sock"

    @property
    def mode(self) -> int:
        """File mode of the socket: connecting needs the right to write."""
        return 0o660 if self is AgentSocket.GROUP else 0o600


class SupportsGetsockopt(Protocol):
    """A socket, of the standard library or of an event loop."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """As in the standard library."""


class ProcessCredentials(msgspec.Struct, frozen=True):
    """The process that connected, as the kernel knew it then (SO_PEERCRED, SO_PEERGROUPS)."""

    pid: int
    uid: int
    groups: frozenset[int]


def peer_of(connection: SupportsGetsockopt) -> ProcessCredentials:
    """Who is on the other side; of a listening process, who called listen()."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    # NGROUPS_MAX is 65,536; who is in more than 1,024 groups is judged by its first group alone.
    try:
        more = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024 * _GID.size)
    except OSError:
        more = b""
    supplementary = (group for (group,) in _GID.iter_unpack(more))
    return ProcessCredentials(pid=pid, uid=uid, groups=frozenset((gid, *supplementary)))


def may_enter(door: AgentSocket, peer: ProcessCredentials, owner: int, group: int) -> bool:
    """The socket's file mode said so already; this asks the kernel again, at the connection.

    A mode can be widened by mistake, and a descriptor can be handed on. Root passes: it could
    become the owner anyway.
    """
    if peer.uid in {owner, 0}:
        return True
    return door is AgentSocket.GROUP and group in peer.groups


def address(folder: Path, door: AgentSocket) -> AbstractContextManager[str]:
    """The door's address, as `connectable`."""
    return connectable(folder, door.value)


@contextmanager
def connectable(folder: Path, name: str) -> Iterator[str]:
    """An address for bind() or connect() that fits, valid inside the `with`.

    LinkError if the folder cannot be opened.
    """
    path = folder / name
    if len(os.fsencode(path)) <= limits.link_path_bytes_max:
        yield str(path)
        return
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LinkError(f"{folder}: {error.strerror}: is the service running?") from error
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def connect(
    folder: Path, door: AgentSocket, seconds: float = limits.link_seconds_max
) -> socket.socket:
    """A blocking stream to the agent whose state is in `folder`; `seconds` bounds each call on it.

    LinkError, with what to do about it, if nobody listens or we may not.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        with address(folder, door) as where:
            connection.connect(where)
    except OSError as error:
        connection.close()
        raise LinkError(f"{folder / door.value}: {_why(error)}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _why(error: OSError) -> str:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return "no agent listens here: start one with `crewgate serve`"
    if isinstance(error, PermissionError):
        return "permission denied: this door is for the service's own user (or its group)"
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return "the agent does not answer"
    return error.strerror or str(error)


def descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in what recvmsg() returned beside the data; the caller owns them.

    `socket.recv_fds` of Python 3.11 drops its flags, so MSG_CMSG_CLOEXEC needs recvmsg itself.
    """
    size = struct.calcsize("i")
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = data[: len(data) - len(data) % size]
            found += [number for (number,) in struct.iter_unpack("i", whole)]
    return found
