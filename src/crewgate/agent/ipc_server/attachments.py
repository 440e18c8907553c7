"""Who is attached: one guest a connection, with a bounded queue of what it is to be told.

Plain state; sends nothing itself. A guest that does not read (stopped, or only ever drawing) loses
messages, never its place in the table: every message only says sooner what the table says too.
"""

import math
from collections.abc import Iterator

import trio

from crewgate import limits
from crewgate._native.records import BurnedReservation
from crewgate._native.table_owner import OwnedTable
from crewgate.core.health import ComponentHealth
from crewgate.ipc import direct_send
from crewgate.ipc.attach_messages import (
    Attach,
    CreditDrawn,
    OverrunNoted,
    Reload,
    RequestFailed,
    RevocationNotice,
)

OutgoingMessage = CreditDrawn | RequestFailed | OverrunNoted | Reload | RevocationNotice


class AttachedProcess:
    """One attached process. `number` is its name in the table for as long as it is connected."""

    def __init__(self, number: int, nonce: int, ask: Attach) -> None:
        self.number = number
        self.nonce = nonce
        self.worker = ask.worker
        self.answers_cuts = ask.answers_cuts
        self.accepting = False
        self.policy_generation = 0
        self.facts: tuple[
            ComponentHealth, ...
        ] = ()  # of its health, as a worker last reported them
        self.received_ns = 0  # when it attached or reported last (CLOCK_BOOTTIME)
        self.draws = 0  # in flight
        self.gone = False
        # Answers are bounded by what is in flight, pushes by their own bound.
        room = limits.link_push_frames_max + limits.link_draws_max
        room += limits.overruns_kept_max if ask.worker >= 0 else 0
        self._send, self.outbox = trio.open_memory_channel[OutgoingMessage](room)
        self._descriptor = -1

    def reach(self, descriptor: int) -> None:
        """Its connection, which stays open for as long as anybody waits for the queue."""
        self._descriptor = descriptor

    def send(self, message: OutgoingMessage) -> bool:
        """Send a message, or queue it; False if the guest does not read.

        However many revocations come, there is room for the answers that it waits for.
        """
        found = self._send.statistics()
        is_first = self._descriptor >= 0 and found.tasks_waiting_receive
        if is_first and direct_send.send(self._descriptor, message):
            return True
        is_push = isinstance(message, Reload | RevocationNotice)
        if is_push and found.current_buffer_used >= limits.link_push_frames_max:
            return False
        try:
            self._send.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def leave(self) -> None:
        """Nothing more is to be told."""
        self.gone = True
        self._descriptor = -1
        self._send.close()
        self.outbox.close()


class AttachedProcesses:
    """All guests of one table, and the numbers whose owners have not come back yet."""

    def __init__(self, table: OwnedTable) -> None:
        self._table = table
        self._processes: dict[int, AttachedProcess] = {}
        # After a restart the processes of the last agent are alive, but not connected.
        self._inherited = set(table.attachments())
        self._wait_until_ns = math.inf

    def __len__(self) -> int:
        return len(self._processes)

    def __iter__(self) -> Iterator[AttachedProcess]:
        return iter(list(self._processes.values()))

    def wait_for_inherited(self, until_boot_ns: int) -> None:
        """Those of the last agent may come back until then."""
        self._wait_until_ns = until_boot_ns

    def enter(self, ask: Attach) -> AttachedProcess:
        """A place for a process, if possible the one that it had; TableFullError."""
        back = ask.life == self._table.life and ask.previous in self._inherited
        if back and self._table.resume_attachment(ask.previous, ask.nonce):
            self._inherited.discard(ask.previous)
            number, nonce = ask.previous, ask.nonce
        else:
            number, nonce = self._table.take_attachment()
        process = self._processes[number] = AttachedProcess(number, nonce, ask)
        return process

    def leave(self, process: AttachedProcess) -> list[BurnedReservation]:
        """Its connection has ended: what it still held is burned."""
        process.leave()
        del self._processes[process.number]
        return self._table.drop_attachment(process.number)

    def drop_inherited(self, now_boot_ns: int) -> list[BurnedReservation]:
        """Once the wait is over: burn what those held who did not come back."""
        if now_boot_ns < self._wait_until_ns:
            return []
        gone, self._inherited = self._inherited, set()
        return [burned for number in gone for burned in self._table.drop_attachment(number)]

    def worker(self, index: int) -> AttachedProcess | None:
        """The gateway worker of this index: the newest one that accepts, or else the newest."""
        found = [process for process in self._processes.values() if process.worker == index]
        accepting = [process for process in found if process.accepting]
        return next(reversed(accepting or found), None)
