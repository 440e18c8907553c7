"""Identifies the process that opened a connection, so that no other process can pass for it.

SO_PEERCRED gives only a pid, which another process can have by now. SO_PEERPIDFD (Linux 6.5) gives
a descriptor of the process itself. If this process has ended, the descriptor says so, whatever
process has its pid. An older kernel has no such option: there, this module takes the process that
has the pid at the accept. It must descend from CMD all the same.
"""

import errno
import os
import select
import socket
import struct
from types import TracebackType
from typing import Self

from crewgate.ipc.sockets import SupportsGetsockopt, peer_of
from crewgate.lifecycle.processes import is_below

_SO_PEERPIDFD = 77  # Python names no constant for it
_DESCRIPTOR = struct.Struct("i")
# A kernel without the option, and one whose process has ended and was reaped.
_MISSING, _GONE = {errno.ENOPROTOOPT, errno.EOPNOTSUPP}, {errno.ESRCH, errno.EINVAL, errno.ENODATA}


class ConnectedProcess:
    """The process that called connect(); use it in a `with`, which closes its descriptor.

    Attributes:
        pid: Its process id when it connected.
        uid: Its user id when it connected.

    Raises:
        OSError: The kernel gives no descriptor of a process.
    """

    def __init__(self, connection: SupportsGetsockopt) -> None:
        peer = peer_of(connection)
        self.pid, self.uid = peer.pid, peer.uid
        self._descriptor = _peer_descriptor(connection, peer.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor, which is readable once the process has ended; -1 if it has."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended; a zombie has."""
        if self._descriptor < 0:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def descends_from(self, ancestor: int) -> bool:
        """Return whether the process runs and descends from the process with the pid `ancestor`."""
        # Only a process that still runs after the look has had its pid all the time.
        return is_below(self.pid, ancestor) and not self.has_ended


def _peer_descriptor(connection: SupportsGetsockopt, pid: int) -> int:
    """Return a pidfd of the process; -1 if it has ended."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, _DESCRIPTOR.size)
        (descriptor,) = _DESCRIPTOR.unpack(raw)
        return int(descriptor)
    except OSError as error:
        if error.errno in _GONE:
            return -1
        if error.errno not in _MISSING:
            raise
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
