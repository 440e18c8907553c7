"""Readiness of all sockets of a worker, in turns: one Trio task instead of one wait a request.

A turn is: what is ready now, each socket's callback once; then what callers asked to have done at
the turn's end, last of all the writes, each connection's once. When nothing more is ready, and
before Trio has the loop again, come the books (audit and settling). A wait of Trio costs 7 µs and a
system call; a turn shares one among all that is ready. Knows sockets by number, and nothing of what
they carry.

Sockets that always have more, of large bodies, come after all others and few in a turn, so that a
small call waits for a few of them and not for all (sparse flows first, as in FQ-CoDel, RFC 8290
§4.2).

Linux alone has epoll. It is nested in Trio's own, so that tasks and turns share one loop; tasks
wait for turns at most `limits.turns_seconds_max` at a time, and for one that is longer hardly more
than `limits.turn_seconds_max`.
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


class Poller:
    """Calls back when watched descriptors are ready, level-triggered, one after the other.

    A callback gets the events that are there: READABLE, WRITABLE, or others (EPOLLHUP, EPOLLERR)
    that come unasked and mean that a read or write would tell. It must read, write, or `change`
    what it asked for, or it is called again at once. It returns True if there is more, most likely,
    than it took: others go first then. One that raises is forgotten: callers have their own
    barriers, this one keeps the worker alive.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Ready] = {}
        self._left: deque[tuple[int, Ready | None, int]] = deque()  # ready, and not called yet
        self._bulky: set[int] = set()  # who had more than was taken
        self._bulk: dict[int, int] = {}  # of those, who is ready, and for what
        self._ends: list[PollerWork] = []
        self._idle_work: list[PollerWork] = []
        self._writes: list[PollerWork] = []
        self._in_turn = False
        self._has_task = False  # begun since Trio had the loop last
        self._token: trio.lowlevel.TrioToken | None = None

    def __repr__(self) -> str:
        return f"<Poller of {len(self._watched)}>"

    def watch(self, descriptor: int, ready: Ready, events: int = READABLE) -> None:
        """Call `ready` from now on, until `forget`, which must come before the close."""
        self._epoll.register(descriptor, events)
        self._watched[descriptor] = ready
        self._bulky.discard(descriptor)

    def change(self, descriptor: int, events: int) -> None:
        """Call for other events; 0 for none but those that come unasked."""
        self._epoll.modify(descriptor, events)
        self._bulk.pop(descriptor, None)

    def forget(self, descriptor: int) -> None:
        """Call no more; nothing if it was not watched."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            self._bulk.pop(descriptor, None)

    def at_end(self, work: PollerWork) -> None:
        """Do `work` once, at the end of this turn and before its writes."""
        self._ends.append(work)
        if not self._in_turn:
            self._soon()

    def when_idle(self, work: PollerWork) -> None:
        """Do `work` once, when nothing is ready: within `limits.turns_seconds_max`."""
        self._idle_work.append(work)
        if not self._in_turn:
            self._soon()

    def write_at_end(self, work: PollerWork) -> None:
        """Do `work` once, at the end of this turn, after all else."""
        self._writes.append(work)
        if not self._in_turn:
            self._soon()

    def yield_to_trio(self) -> None:
        """A task was begun: Trio has the loop as soon as nothing is ready; nobody waits here."""
        self._has_task = True

    async def run(self) -> None:
        """Take turns until cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        if self._ends or self._idle_work or self._writes:
            self._soon()
        while True:
            if self._left or self._bulk:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            until = time.monotonic() + limits.turns_seconds_max
            wait = 0.0
            # The answer to what was just sent is often a moment away: waiting for it here costs
            # half of what giving the loop to Trio and getting it back does.
            self._has_task = False
            while self._take_turn(wait) and time.monotonic() < until:
                wait = 0.0 if self._idle_work or self._has_task else limits.turn_wait_seconds
            self.finish()

    def finish(self) -> None:
        """Do now what waits for the end of a turn, or for rest."""
        self._in_turn = True
        self._end_turn()
        while self._idle_work:
            books, self._idle_work = self._idle_work, []
            for work in books:
                _guard(work)
            self._end_turn()
        self._in_turn = False

    def close(self) -> None:
        """Do what is due, and watch nothing from now on."""
        self.finish()
        self._watched.clear()
        self._left.clear()
        self._bulk.clear()
        self._epoll.close()

    def _take_turn(self, wait: float) -> bool:
        """Work on what is ready, or gets ready within `wait` seconds; False if nothing did.

        What there is no time left for is first in the next turn.
        """
        left, bulk, watched = self._left, self._bulk, self._watched
        if not left:
            wait = 0.0 if bulk else wait
            for descriptor, events in self._epoll.poll(wait, limits.turn_events_max):
                if descriptor in self._bulky:
                    bulk[descriptor] = events
                else:
                    left.append((descriptor, watched.get(descriptor), events))
        if not (left or bulk):
            if not self._idle_work:
                return False
            self.finish()
            return True
        until = time.monotonic() + limits.turn_seconds_max
        self._in_turn = True
        try:
            while left:
                descriptor, ready, events = left.popleft()
                # Not if another's callback has forgotten it, or the number is another's by now.
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
        """Call some of those that have more, in the order they got ready.

        Their number is bounded, because it is in writing that their time goes.
        """
        for descriptor in list(self._bulk)[: limits.turn_bulk_events_max]:
            events = self._bulk.pop(descriptor, 0)
            if events:  # no callback of another has changed or forgotten it
                self._call(descriptor, self._watched[descriptor], events)

    def _end_turn(self) -> None:
        while self._ends or self._writes:
            ends, self._ends = self._ends, []
            for work in ends:
                _guard(work)
            if self._ends:
                continue
            writes, self._writes = self._writes, []
            for work in writes:
                _guard(work)

    def _call(self, descriptor: int, ready: Ready, events: int) -> None:
        try:
            if ready(events):
                self._bulky.add(descriptor)
            elif self._bulky:
                self._bulky.discard(descriptor)
        except Exception:  # noqa: BLE001 - the last barrier
            _log.exception("a connection is no longer read, by an error of ours")
            self.forget(descriptor)

    def _soon(self) -> None:
        if self._token is not None:
            self._token.run_sync_soon(self.finish, idempotent=True)


def _guard(work: PollerWork) -> None:
    try:
        work()
    except Exception:  # noqa: BLE001 - the last barrier
        _log.exception("the end of a turn met an error of ours")
