"""What a receipt waits for: the answers of those who were told to cut.

Knows no clock and no socket. A guest that leaves has no calls any more, which is an answer.
"""

import trio

from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.ipc.attach_messages import RevocationAck


class PendingAcks:
    """One revocation on its way: who has not answered yet, and what the others said."""

    def __init__(self, waiting: set[int]) -> None:
        self.waiting = waiting
        self.last_cut_ns = 0
        self.count = 0
        self.connections = 0
        self._done = trio.Event()
        self._look()

    async def wait(self) -> None:
        """Until nobody is waited for; the caller bounds it."""
        await self._done.wait()

    def answer(self, number: int, last_cut_ns: int, count: int, connections: int) -> None:
        """One guest has cut (or left); a second answer of the same one changes nothing."""
        if number in self.waiting:
            self.waiting.discard(number)
            self.last_cut_ns = max(self.last_cut_ns, last_cut_ns)
            self.count += count
            self.connections += connections
            self._look()

    def _look(self) -> None:
        if not self.waiting:
            self._done.set()


class DisconnectAcks:
    """All revocations on their way, by the id that their `Revoked` carries."""

    def __init__(self) -> None:
        self._pending: dict[int, PendingAcks] = {}
        self._last = 0

    def begin(self, waiting: set[int]) -> tuple[int, PendingAcks]:
        """A new id, and what to wait for; `end` it."""
        self._last += 1
        pending = self._pending[self._last] = PendingAcks(waiting)
        return self._last, pending

    def end(self, number: int) -> None:
        """Later answers are of no interest."""
        del self._pending[number]

    def answer(self, process: AttachedProcess, cut: RevocationAck) -> None:
        """A guest says what it has cut."""
        pending = self._pending.get(cut.id)
        if pending is not None:
            pending.answer(process.number, cut.last_cut_ns, cut.count, cut.connections)

    def left(self, process: AttachedProcess) -> None:
        """A guest is gone, and its calls with it."""
        for pending in self._pending.values():
            pending.answer(process.number, 0, 0, 0)
