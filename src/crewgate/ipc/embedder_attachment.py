"""An embedder's attachment to the agent: any thread asks for credit, and one listens for all.

It has no event loop and starts no thread. The table has the state; a message only says that it is
time to read the table.
"""

import os
import select
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceConnectionError
from crewgate.ipc import attach_messages as messages
from crewgate.ipc.handshake import AttachedConnection, attach

_CHUNK = 64 * 2**10
AgentMessage = (
    messages.CreditDrawn | messages.RequestFailed | messages.RevocationNotice | messages.Reload
)


class EmbedderAttachment:
    """The attachment of one process; its number is valid as long as this connection.

    After any ServiceConnectionError the attachment is unusable: `close` it and attach again.
    `table` is the table's descriptor, which `close` closes; map the table before.
    """

    def __init__(self, session: AttachedConnection) -> None:
        self.attached = session.attached
        self.table = session.table
        self._connection = session.connection
        self._connection.settimeout(0)
        self._decoder = session.decoder
        self._lock = threading.Lock()
        # Why the attachment is unusable; empty while it is usable.
        self._failure = ""
        self._last_id = 0
        self._unsent = bytearray()
        # Messages that arrived together with the answer to `Attach`.
        self._early = _expected(session.early)

    @classmethod
    def open(cls, folder: Path, *, previous: messages.Attached | None = None) -> Self:
        """Attach to the agent whose state is in `folder`.

        Raises ServiceConnectionError if that fails.

        `previous` is the `attached` of an earlier attachment: the process asks for its number
        again. The agent gives it if it was restarted on the same table, so compare both.
        """
        return cls(attach(folder, previous=previous))

    def close(self) -> None:
        """End the attachment; the agent burns what this process still holds.

        A second call does nothing.
        """
        with self._lock:
            if self.table < 0:
                return
            self._failure = self._failure or "this process closed the connection"
            # The shutdown wakes a thread that waits on the connection, if that still works.
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()
            os.close(self.table)
            self.table = -1

    def abandon(self) -> None:
        """Close the copies of the descriptors in a child after a fork, without telling the agent.

        Takes no lock, since the thread that held it does not exist here. Shuts nothing down, since
        the connection belongs to the parent.
        """
        self._failure = "the connection belongs to the parent process"
        if self.table >= 0:
            self._connection.close()
            os.close(self.table)
            self.table = -1

    def request_draw(self, grant: Grant, need: int) -> int:
        """Ask for credit without waiting; return the id that the answer will have.

        Returns 0 if the agent does not keep up. `listen` returns the answer. Raises
        ServiceConnectionError.
        """
        with self._lock:
            self._flush()
            # An earlier frame has not left completely.
            if self._unsent:
                return 0
            self._last_id += 1
            self._unsent += messages.pack(
                messages.DrawCredit(id=self._last_id, grant=grant, need=need)
            )
            self._flush()
            return self._last_id

    def listen(self, seconds: float) -> list[AgentMessage]:
        """Wait at most `seconds` for messages, and return those that have arrived.

        For one thread, which listens for the whole process. Raises ServiceConnectionError if the
        agent is gone.
        """
        if self._early:
            early, self._early = self._early, []
            return early
        wait_for(self._connection, seconds, writable=bool(self._unsent))
        with self._lock:
            self._flush()
            return self._read()

    def _flush(self) -> None:
        """Send as much as fits."""
        self._check()
        if not self._unsent:
            return
        try:
            sent = self._connection.send(self._unsent, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._fail(str(error)) from error
        del self._unsent[:sent]

    def _read(self) -> list[AgentMessage]:
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError as error:
            raise self._fail(str(error)) from error
        if not data:
            raise self._fail("the agent closed the connection")
        try:
            return _expected(
                [messages.unpack(messages.group_answers, body) for body in self._decoder.feed(data)]
            )
        except ServiceConnectionError as error:
            raise self._fail(str(error)) from error

    def _check(self) -> None:
        if self._failure:
            raise ServiceConnectionError(self._failure)

    def _fail(self, why: str) -> ServiceConnectionError:
        self._failure = why
        return ServiceConnectionError(why)


def _expected(received: Iterable[messages.AttachResponse]) -> list[AgentMessage]:
    """Leave out the answers to what an embedder never asks."""
    return [each for each in received if isinstance(each, AgentMessage)]


def wait_for(connection: socket.socket, seconds: float, *, writable: bool) -> None:
    """Return when the connection is readable (or writable), or after `seconds`.

    It uses poll(2), because select(2) ends the process at descriptor 1024.
    """
    waiting = select.poll()
    # Another thread may have closed the connection in this moment.
    with suppress(ValueError):
        waiting.register(connection, select.POLLIN | (select.POLLOUT if writable else 0))
        waiting.poll(seconds * 1000)
