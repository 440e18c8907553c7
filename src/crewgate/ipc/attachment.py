"""An embedder's attachment: draws, asked for without waiting or awaited, from any thread.

Knows no event loop and starts no thread: whoever waits first reads for all. The table is the
truth; a message only says that looking at it pays off now, so what nobody waits for may be lost.
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
    CutReport,
    DrawCredit,
    KeysRevoked,
    Reload,
    RequestFailed,
    group_answers,
    pack,
    unpack,
)
from crewgate.ipc.handshake import AttachSession, attach

_CHUNK = 64 * 2**10


class Attachment:
    """One process's place at the agent; the number lives as long as this connection.

    After any LinkError the attachment is dead: `close` it and attach anew. `table` is the table's
    descriptor, closed by `close`; map it before.
    """

    def __init__(self, session: AttachSession) -> None:
        self.attached = session.attached
        self.table = session.table
        self._connection = session.connection
        self._connection.settimeout(0)
        self._decoder = session.decoder
        self._condition = threading.Condition()
        self._reading = False
        self._dead: str = ""
        self._last_id = 0
        self._unsent = bytearray()
        self._awaited: set[int] = set()
        self._answers: dict[int, CreditDrawn | RequestFailed] = {}
        # Pushes are hints; the oldest may be forgotten.
        self._pushed: deque[KeysRevoked | Reload] = deque(maxlen=limits.link_push_frames_max)
        self._drawn: deque[CreditDrawn | RequestFailed] = deque(maxlen=limits.link_draws_max)
        self._sort(session.early)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        answers_cuts: bool = False,
        previous: Attached | None = None,
        seconds: float = limits.link_seconds_max,
    ) -> Self:
        """Attach to the agent whose state is in `folder`; LinkError if that fails.

        With `previous`, the `attached` of an attachment that died, the agent is asked for the same
        number: it is given if the agent was restarted on the same table, so compare.
        """
        return cls(attach(folder, answers_cuts=answers_cuts, previous=previous, seconds=seconds))

    def __repr__(self) -> str:
        state = self._dead or "alive"
        return f"<Attachment number={self.attached.number} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """The connection has not failed as far as anybody has looked."""
        return not self._dead

    def fileno(self) -> int:
        """For an event loop that waits until `poll` has something to read."""
        return self._connection.fileno()

    def close(self) -> None:
        """Leave: the agent burns what this process still holds. Twice is once."""
        with self._condition:
            if self.table < 0:
                return
            self._dead = self._dead or "closed"
            with suppress(OSError):  # wakes a thread that waits on it; it may be dead already
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()
            os.close(self.table)
            self.table = -1
            self._condition.notify_all()

    def abandon(self) -> None:
        """In a child after fork: let go of the copies, without a word to the agent.

        Takes no lock, since a thread that held it does not exist here, and shuts nothing down,
        since the connection is the parent's.
        """
        self._dead = "the connection of another process"
        if self.table >= 0:
            self._connection.close()
            os.close(self.table)
            self.table = -1

    def request_draw(self, grant: Grant, need: int) -> int:
        """Ask for credit and do not wait: the id that the answer will have. LinkError.

        0 if the agent does not keep up. Who wants the answer calls `listen`.
        """
        with self._condition:
            number = self._next_id()
            return number if self._send(DrawCredit(id=number, grant=grant, need=need)) else 0

    def listen(self, seconds: float) -> list[CreditDrawn | RequestFailed | KeysRevoked | Reload]:
        """Wait at most `seconds` for anything that no `draw` waits for. LinkError if it is gone.

        For one thread that listens for the whole process.
        """
        with self._condition:
            if not self._drawn and not self._pushed:
                if self._reading:
                    self._condition.wait(seconds)
                else:
                    self._lead(seconds)
            heard = [*self._drawn, *self._pushed]
            self._drawn.clear()
            self._pushed.clear()
            return heard

    def draw(self, grant: Grant, need: int, seconds: float) -> CreditDrawn | None:
        """Ask for credit and wait at most `seconds`; None if no answer came. LinkError."""
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

    def poll(self) -> list[KeysRevoked | Reload]:
        """What the agent has pushed, read without waiting; LinkError if it is gone."""
        with self._condition:
            if not self._reading:
                self._read()
            pushed = list(self._pushed)
            self._pushed.clear()
            return pushed

    def send_cut_report(self, pushed: KeysRevoked, last_cut_ns: int, count: int) -> None:
        """Tell the agent what `pushed` has cut here (CLOCK_MONOTONIC; 0 and 0 for nothing)."""
        with self._condition:
            self._send(CutReport(id=pushed.id, last_cut_ns=last_cut_ns, count=count))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _send(self, message: AttachRequest) -> bool:
        """Hand over as much as fits; a started frame is finished before the next one begins."""
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
            raise self._die(str(error)) from error
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
                self._lead(remaining)
        answer = self._answers[number]
        if isinstance(answer, RequestFailed):
            raise LinkError(answer.message)
        return answer

    def _lead(self, seconds: float) -> None:
        """Wait on the socket for all threads, with the lock open; then read and wake them."""
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
            raise self._die(str(error)) from error
        if not data:
            raise self._die("the agent is gone")
        try:
            self._sort([unpack(group_answers, body) for body in self._decoder.feed(data)])
        except LinkError as error:
            raise self._die(str(error)) from error

    def _sort(self, messages: list[AttachResponse]) -> None:
        for message in messages:
            if isinstance(message, (KeysRevoked, Reload)):
                self._pushed.append(message)
            elif isinstance(message, (CreditDrawn, RequestFailed)):
                if message.id in self._awaited:
                    self._answers[message.id] = message
                else:
                    self._drawn.append(message)

    def _check(self) -> None:
        if self._dead:
            raise LinkError(f"not attached: {self._dead}")

    def _die(self, why: str) -> LinkError:
        self._dead = why
        self._condition.notify_all()
        return LinkError(f"not attached: {why}")


def wait_for(connection: socket.socket, seconds: float, *, writable: bool) -> None:
    """Return when something can be read (or written), or after `seconds`.

    poll(2), because select(2) ends the process at descriptor 1024.
    """
    waiting = select.poll()
    with suppress(ValueError):  # closed by another thread in this moment
        waiting.register(connection, select.POLLIN | (select.POLLOUT if writable else 0))
        waiting.poll(seconds * 1000)
