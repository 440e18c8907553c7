"""Collects the acknowledgements of processes that must end calls and connections.

A process that detaches has no calls any more, which counts as an acknowledgement.
"""

import trio

from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.ipc.attach_messages import RevocationAck


class PendingAcks:
    """The acknowledgements of one revocation.

    `waiting` has the numbers of the processes that have not answered. `last_cut_ns` is when the
    last call ended (CLOCK_MONOTONIC), `count` the number of calls, `connections` of connections.
    """

    def __init__(self, waiting: set[int]) -> None:
        self.waiting = waiting
        self.last_cut_ns = 0
        self.count = 0
        self.connections = 0
        self._done = trio.Event()
        self._check_done()

    async def wait(self) -> None:
        """Wait until all processes have answered; the caller limits the time."""
        await self._done.wait()

    def answer(self, number: int, last_cut_ns: int, count: int, connections: int) -> None:
        """Add the answer of a process; ignore a second one."""
        if number in self.waiting:
            self.waiting.discard(number)
            self.last_cut_ns = max(self.last_cut_ns, last_cut_ns)
            self.count += count
            self.connections += connections
            self._check_done()

    def _check_done(self) -> None:
        if not self.waiting:
            self._done.set()


class DisconnectAcks:
    """The acknowledgements of all revocations in progress, by the `id` of `RevocationNotice`."""

    def __init__(self) -> None:
        self._pending: dict[int, PendingAcks] = {}
        self._last = 0

    def begin(self, waiting: set[int]) -> tuple[int, PendingAcks]:
        """Return a new ID, and the acknowledgements to wait for. The caller must `end` it."""
        self._last += 1
        pending = self._pending[self._last] = PendingAcks(waiting)
        return self._last, pending

    def end(self, number: int) -> None:
        """Ignore later answers."""
        del self._pending[number]

    def answer(self, process: AttachedProcess, ack: RevocationAck) -> None:
        """Add the acknowledgement of a process."""
        pending = self._pending.get(ack.id)
        if pending is not None:
            pending.answer(process.number, ack.last_cut_ns, ack.count, ack.connections)

    def left(self, process: AttachedProcess) -> None:
        """Count a detached process as having answered: its calls have ended with it."""
        for pending in self._pending.values():
            pending.answer(process.number, 0, 0, 0)
