"""The attached processes: one for each connection, with a bounded queue of messages to it.

A process that does not read (it is stopped, or only draws) loses messages, but never its place in
the table: a message only says sooner what the table says, too.
"""

import math
from collections.abc import Iterator, Sequence

import trio

from crewgate import limits
from crewgate._native.records import BurnedReservation
from crewgate._native.table_owner import OwnedTable
from crewgate.core.health import ComponentHealth
from crewgate.core.mcp.pins.worker_pins import PinnedEndpoint
from crewgate.ipc import direct_send
from crewgate.ipc.attach_messages import (
    Attach,
    CreditDrawn,
    DefinitionsNoted,
    OverrunNoted,
    PinsPushed,
    Reload,
    RequestFailed,
    RevocationNotice,
)

OutgoingMessage = (
    CreditDrawn | RequestFailed | OverrunNoted | Reload | RevocationNotice | PinsPushed
    | DefinitionsNoted
)  # fmt: skip


class AttachedProcess:
    """One attached process.

    `number` is its attachment in the table while it is connected. `facts` is its last health
    report, and `received_ns` when it attached or reported last (CLOCK_BOOTTIME). `draws` counts its
    draws in progress. `descriptor` is its connection, which stays open while a task reads the
    outbox; -1 before and after. `pins_version` and `pins_complete` are what it was last sent
    (`tool_pins.pin_push`).
    """

    def __init__(self, number: int, nonce: int, request: Attach) -> None:
        self.number = number
        self.nonce = nonce
        self.worker = request.worker
        self.answers_cuts = request.answers_cuts
        self.takes_pins = request.takes_pins and request.worker >= 0
        self.pins_version = -1
        self.pins_complete: Sequence[PinnedEndpoint] | None = None
        self.accepting = False
        self.policy_generation = 0
        self.facts: tuple[ComponentHealth, ...] = ()
        self.received_ns = 0
        self.draws = 0
        self.gone = False
        # The requests in progress bound the answers; notices have a bound of their own.
        messages_max = limits.ipc_push_frames_max + limits.ipc_draws_max
        if request.worker >= 0:
            messages_max += limits.overruns_kept_max + limits.mcp_reports_unanswered_max
        self._send, self.outbox = trio.open_memory_channel[OutgoingMessage](messages_max)
        self.descriptor = -1

    def send(self, message: OutgoingMessage) -> bool:
        """Send or queue a message; return False if the process does not read and the queue is full.

        Notices never take the places of the answers for which the process waits.
        """
        queue = self._send.statistics()
        is_first = self.descriptor >= 0 and queue.tasks_waiting_receive
        if is_first and direct_send.send(self.descriptor, message):
            return True
        is_notice = isinstance(message, Reload | RevocationNotice | PinsPushed)
        if is_notice and queue.current_buffer_used >= limits.ipc_push_frames_max:
            return False
        try:
            self._send.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def leave(self) -> None:
        """Drop the queue: the connection has ended."""
        self.gone = True
        self.descriptor = -1
        self._send.close()
        self.outbox.close()


class AttachedProcesses:
    """The attached processes of one table, and the numbers that an earlier agent has left."""

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
        """Let the processes of the last agent attach again until then (CLOCK_BOOTTIME)."""
        self._wait_until_ns = until_boot_ns

    def enter(self, request: Attach) -> AttachedProcess:
        """Attach a process, if possible under its earlier number. Raises TableFullError."""
        is_back = request.life == self._table.life and request.previous in self._inherited
        if is_back and self._table.resume_attachment(request.previous, request.nonce):
            self._inherited.discard(request.previous)
            number, nonce = request.previous, request.nonce
        else:
            number, nonce = self._table.take_attachment()
        process = self._processes[number] = AttachedProcess(number, nonce, request)
        return process

    def leave(self, process: AttachedProcess) -> list[BurnedReservation]:
        """Detach a process, and return its reservations, which the table has burned."""
        process.leave()
        del self._processes[process.number]
        return self._table.drop_attachment(process.number)

    def drop_inherited(self, now_boot_ns: int) -> list[BurnedReservation]:
        """After the wait, burn the reservations of processes that have not attached again."""
        if now_boot_ns < self._wait_until_ns:
            return []
        gone, self._inherited = self._inherited, set()
        return [burned for number in gone for burned in self._table.drop_attachment(number)]

    def worker(self, index: int) -> AttachedProcess | None:
        """Return the gateway worker of an index: the newest that accepts, or else the newest."""
        found = [process for process in self._processes.values() if process.worker == index]
        accepting = [process for process in found if process.accepting]
        return next(reversed(accepting or found), None)
