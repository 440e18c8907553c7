"""Polls all sockets of a worker in turns: one Trio task instead of one wait for each request.

One turn:

1. Call back each socket that is ready, once.
2. Call some of the sockets with large bodies (see below).
3. Run the work that was deferred to the end of the turn (`at_end`), then the writes
   (`write_at_end`), one for each connection.

When no socket is ready any more, the idle work (`when_idle`: audit and settlement) runs, and then
Trio's other tasks. A wait of Trio costs 7 µs and a system call; a turn shares one among all ready
sockets. The poller knows sockets by number, and nothing of what they carry.

Sockets of large bodies always have more to read, so they come after all others and few in each
turn. A small call then waits for a few of them and not for all (sparse flows first, as in FQ-CoDel,
RFC 8290 §4.2).

The poller's epoll, which only Linux has, is nested in Trio's own, so that tasks and turns share one
loop. Tasks wait for turns at most `limits.turns_seconds_max` at a time, and hardly longer than
`limits.turn_seconds_max` if a single turn takes more.
"""

import logging
import select
import time
from collections import deque
from collections.abc import Callable

import trio

from crewgate import limits

_log = logging.getLogger(__name__)
READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
Ready = Callable[[int], bool]
PollerWork = Callable[[], None]


class SocketPoller:
    """Calls back when a watched descriptor is ready, level-triggered, one after the other.

    A callback gets the present events: READABLE, WRITABLE, or EPOLLHUP and EPOLLERR, which epoll
    always reports; a read or write then tells the cause. The callback must read, write or `change`
    its events, or it is called again at once. A callback returns True if there is probably more to
    read than it took; other descriptors then go first. If a callback raises, its descriptor is
    forgotten: callers have their own error barriers, and this last one keeps the worker alive.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Ready] = {}
        self._ready_queue: deque[tuple[int, Ready | None, int]] = deque()  # not called yet
        self._bulky_descriptors: set[int] = set()  # the last callback returned True
        self._bulk: dict[int, int] = {}  # bulky descriptors that are ready, with their events
        self._end_work: list[PollerWork] = []
        self._idle_work: list[PollerWork] = []
        self._writes: list[PollerWork] = []
        self._in_turn = False
        self._has_new_task = False  # a task was started since Trio last had the loop
        self._token: trio.lowlevel.TrioToken | None = None

    def watch(self, descriptor: int, ready: Ready, events: int = READABLE) -> None:
        """Call `ready` on `events` until `forget`, which must come before the close."""
        self._epoll.register(descriptor, events)
        self._watched[descriptor] = ready
        self._bulky_descriptors.discard(descriptor)

    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events; 0 leaves only EPOLLHUP and EPOLLERR."""
        self._epoll.modify(descriptor, events)
        self._bulk.pop(descriptor, None)

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more; do nothing if it was not watched."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            self._bulk.pop(descriptor, None)

    def at_end(self, work: PollerWork) -> None:
        """Run `work` once, at the end of this turn and before its writes."""
        self._end_work.append(work)
        if not self._in_turn:
            self._finish_soon()

    def when_idle(self, work: PollerWork) -> None:
        """Run `work` once when no socket is ready, within `limits.turns_seconds_max`."""
        self._idle_work.append(work)
        if not self._in_turn:
            self._finish_soon()

    def write_at_end(self, work: PollerWork) -> None:
        """Run `work` once, at the end of this turn, after all other work."""
        self._writes.append(work)
        if not self._in_turn:
            self._finish_soon()

    def yield_to_trio(self) -> None:
        """Let Trio run a task that was just started as soon as no socket is ready."""
        self._has_new_task = True

    async def run(self) -> None:
        """Take turns until cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        if self._end_work or self._idle_work or self._writes:
            self._finish_soon()
        while True:
            if self._ready_queue or self._bulk:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            until = time.monotonic() + limits.turns_seconds_max
            wait = 0.0
            # The answer to what was just sent often arrives a moment later. Waiting for it here
            # costs half as much as giving the loop to Trio and getting it back.
            self._has_new_task = False
            while self._take_turn(wait) and time.monotonic() < until:
                wait = 0.0 if self._idle_work or self._has_new_task else limits.turn_wait_seconds
            self.finish()

    def finish(self) -> None:
        """Run now all work that waits for the end of a turn or for an idle moment."""
        self._in_turn = True
        self._end_turn()
        while self._idle_work:
            pending, self._idle_work = self._idle_work, []
            for work in pending:
                _run_guarded(work)
            self._end_turn()
        self._in_turn = False

    def close(self) -> None:
        """Run the work that is due, and stop watching."""
        self.finish()
        self._watched.clear()
        self._ready_queue.clear()
        self._bulk.clear()
        self._epoll.close()

    def _take_turn(self, wait: float) -> bool:
        """Serve what is ready within `wait` seconds; return False if there was nothing to do.

        Sockets for which no time is left come first in the next turn.
        """
        ready_queue, bulk, watched = self._ready_queue, self._bulk, self._watched
        if not ready_queue:
            wait = 0.0 if bulk else wait
            for descriptor, events in self._epoll.poll(wait, limits.turn_events_max):
                if descriptor in self._bulky_descriptors:
                    bulk[descriptor] = events
                else:
                    ready_queue.append((descriptor, watched.get(descriptor), events))
        if not (ready_queue or bulk):
            if not self._idle_work:
                return False
            self.finish()
            return True
        until = time.monotonic() + limits.turn_seconds_max
        self._in_turn = True
        try:
            while ready_queue:
                descriptor, ready, events = ready_queue.popleft()
                # An earlier callback may have forgotten the descriptor, or reused its number.
                if ready is not None and watched.get(descriptor) is ready:
                    self._call(descriptor, ready, events)
                    if time.monotonic() > until:
                        break
            if bulk:
                self._take_bulk()
            self._end_turn()
        finally:
            self._in_turn = False
        return True

    def _take_bulk(self) -> None:
        """Call some of the bulky descriptors, in the order in which they became ready.

        Their number is bounded and not their time, because most of the time goes into the writes
        at the end of the turn.
        """
        for descriptor in list(self._bulk)[: limits.turn_bulk_events_max]:
            events = self._bulk.pop(descriptor, 0)
            if events:  # no other callback has changed or forgotten the descriptor
                self._call(descriptor, self._watched[descriptor], events)

    def _end_turn(self) -> None:
        while self._end_work or self._writes:
            ends, self._end_work = self._end_work, []
            for work in ends:
                _run_guarded(work)
            if self._end_work:
                continue
            writes, self._writes = self._writes, []
            for work in writes:
                _run_guarded(work)

    def _call(self, descriptor: int, ready: Ready, events: int) -> None:
        try:
            if ready(events):
                self._bulky_descriptors.add(descriptor)
            elif self._bulky_descriptors:
                self._bulky_descriptors.discard(descriptor)
        except Exception:  # noqa: BLE001 - the last barrier
            _log.exception("no longer polling a connection: internal error in its callback")
            self.forget(descriptor)

    def _finish_soon(self) -> None:
        if self._token is not None:
            self._token.run_sync_soon(self.finish, idempotent=True)


def _run_guarded(work: PollerWork) -> None:
    try:
        work()
    except Exception:  # noqa: BLE001 - the last barrier
        _log.exception("skipping deferred work at the end of a poller turn: internal error")
