"""An embedder's attachment to the agent: draws from any thread, with or without waiting.

It has no event loop and starts no thread: the first thread that waits reads for all. The table has
the state; a message only says that it is time to read the table. So messages that nobody waits for
may be lost.
"""

import os
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Self

from crewgate import limits
from crewgate.core.tokens.grant import Grant
from crewgate.errors import LinkError
from crewgate.ipc.attach_messages import (
    Attached,
    AttachRequest,
    AttachResponse,
    CreditDrawn,
    DrawCredit,
    Reload,
    RequestFailed,
    RevocationNotice,
    group_answers,
    pack,
    unpack,
)
from crewgate.ipc.handshake import AttachedConnection, attach

_CHUNK = 64 * 2**10


class Attachment:
    """The attachment of one process; its number is valid as long as this connection.

    After any LinkError the attachment is unusable: `close` it and attach again. `table` is the
    table's descriptor, which `close` closes; map the table before.
    """

    def __init__(self, session: AttachedConnection) -> None:
        self.attached = session.attached
        self.table = session.table
        self._connection = session.connection
        self._connection.settimeout(0)
        self._decoder = session.decoder
        self._condition = threading.Condition()
        self._reading = False
        # Why the attachment is unusable; empty while it is usable.
        self._failure: str = ""
        self._last_id = 0
        self._unsent = bytearray()
        self._awaited: set[int] = set()
        self._answers: dict[int, CreditDrawn | RequestFailed] = {}
        # Pushes are hints, so the oldest ones may be dropped.
        self._pushed: deque[RevocationNotice | Reload] = deque(maxlen=limits.link_push_frames_max)
        self._drawn: deque[CreditDrawn | RequestFailed] = deque(maxlen=limits.link_draws_max)
        self._distribute(session.early)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        previous: Attached | None = None,
        seconds: float = limits.link_seconds_max,
    ) -> Self:
        """Attach to the agent whose state is in `folder`; raises LinkError if that fails.

        `previous` is the `attached` of an earlier attachment: the process asks for its number
        again. The agent gives it if it was restarted on the same table, so compare both.
        """
        return cls(attach(folder, previous=previous, seconds=seconds))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the connection works, as of its last use."""
        return not self._failure

    def fileno(self) -> int:
        """Return the descriptor that is readable when `poll` has something to read."""
        return self._connection.fileno()

    def close(self) -> None:
        """End the attachment; the agent burns what this process still holds.

        A second call does nothing.
        """
        with self._condition:
            if self.table < 0:
                return
            self._failure = self._failure or "closed"
            # The shutdown wakes a thread that waits on the connection, if that still works.
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()
            os.close(self.table)
            self.table = -1
            self._condition.notify_all()

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

        Returns 0 if the agent does not keep up. `listen` returns the answer. Raises LinkError.
        """
        with self._condition:
            number = self._next_id()
            return number if self._send(DrawCredit(id=number, grant=grant, need=need)) else 0

    def listen(
        self, seconds: float
    ) -> list[CreditDrawn | RequestFailed | RevocationNotice | Reload]:
        """Wait at most `seconds` for messages that no `draw` waits for, and return them.

        For one thread that listens for the whole process. Raises LinkError if the agent is gone.
        """
        with self._condition:
            if not self._drawn and not self._pushed:
                if self._reading:
                    self._condition.wait(seconds)
                else:
                    self._read_for_all(seconds)
            received = [*self._drawn, *self._pushed]
            self._drawn.clear()
            self._pushed.clear()
            return received

    def draw(self, grant: Grant, need: int, seconds: float) -> CreditDrawn | None:
        """Ask for credit and wait at most `seconds`; return None if no answer came.

        Raises LinkError.
        """
        with self._condition:
            number = self._next_id()
            self._awaited.add(number)
            try:
                if not self._send(DrawCredit(id=number, grant=grant, need=need)):
                    return None
                return self._await(number, time.monotonic() + seconds)
            finally:
                self._awaited.discard(number)
                self._answers.pop(number, None)

    def poll(self) -> list[RevocationNotice | Reload]:
        """Return what the agent has pushed, without waiting; raises LinkError if it is gone."""
        with self._condition:
            if not self._reading:
                self._read()
            pushed = list(self._pushed)
            self._pushed.clear()
            return pushed

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _send(self, message: AttachRequest) -> bool:
        """Send as much as fits; return False if an earlier frame has not left completely."""
        self._check()
        if self._unsent:
            self._flush()
        if self._unsent:
            return False
        self._unsent += pack(message)
        self._flush()
        return True

    def _flush(self) -> None:
        try:
            sent = self._connection.send(self._unsent, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._fail(str(error)) from error
        del self._unsent[:sent]

    def _await(self, number: int, deadline: float) -> CreditDrawn | None:
        while number not in self._answers:
            self._check()
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            if self._reading:
                self._condition.wait(remaining)
            else:
                self._read_for_all(remaining)
        answer = self._answers[number]
        if isinstance(answer, RequestFailed):
            raise LinkError(answer.message)
        return answer

    def _read_for_all(self, seconds: float) -> None:
        """Wait on the socket for all threads, without the lock; then read and wake them."""
        self._reading = True
        connection = self._connection
        self._condition.release()
        try:
            wait_for(connection, seconds, writable=bool(self._unsent))
        finally:
            self._condition.acquire()
            self._reading = False
            self._condition.notify_all()
        self._check()
        if self._unsent:
            self._flush()
        self._read()

    def _read(self) -> None:
        self._check()
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._fail(str(error)) from error
        if not data:
            raise self._fail("the agent closed the connection")
        try:
            self._distribute([unpack(group_answers, body) for body in self._decoder.feed(data)])
        except LinkError as error:
            raise self._fail(str(error)) from error

    def _distribute(self, messages: list[AttachResponse]) -> None:
        for message in messages:
            if isinstance(message, (RevocationNotice, Reload)):
                self._pushed.append(message)
            elif isinstance(message, (CreditDrawn, RequestFailed)):
                if message.id in self._awaited:
                    self._answers[message.id] = message
                else:
                    self._drawn.append(message)

    def _check(self) -> None:
        if self._failure:
            raise LinkError(f"not attached: {self._failure}")

    def _fail(self, why: str) -> LinkError:
        self._failure = why
        self._condition.notify_all()
        return LinkError(f"not attached: {why}")


def wait_for(connection: socket.socket, seconds: float, *, writable: bool) -> None:
    """Return when the connection is readable (or writable), or after `seconds`.

    It uses poll(2), because select(2) ends the process at descriptor 1024.
    """
    waiting = select.poll()
    # Another thread may have closed the connection in this moment.
    with suppress(ValueError):
        waiting.register(connection, select.POLLIN | (select.POLLOUT if writable else 0))
        waiting.poll(seconds * 1000)
