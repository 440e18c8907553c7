"""Polls all sockets of a worker in turns: no request needs a Trio task, nor a wait of Trio.

One turn:

1. Call back each socket that is ready, once.
2. Call some of the bulky sockets (see below).
3. Run the work that was deferred to the end of the turn (`at_end`), then the writes
   (`write_at_end`), one for each connection.

When no socket has been ready for a moment, and at the latest after `limits.turns_seconds_max`, the
idle work (`when_idle`: audit and settlement) runs. So the calls of many turns share one write of the
audit. The poller knows sockets by number, and nothing of what they carry.

Sockets of large bodies always have more to read, and those of floods take long. Such a socket is
bulky: it comes after all others, and few of them in each turn. A small call then waits for a few of
them and not for all (sparse flows first, as in FQ-CoDel, RFC 8290 §4.2).

The turns run around Trio's loop (`trio_host`) if its clock is a `TurnClock`. Else they run in a task
that waits until the poller's epoll is ready, which only Linux has. In both ways tasks wait for turns
at most `limits.turns_seconds_max` at a time, and hardly longer than `limits.turn_seconds_max` if a
single turn takes more.
"""

from collections.abc import Callable
from typing import Final

from crewgate._datapath.trio_host import TrioHost
from crewgate._datapath.turn_work import TurnCheck

READABLE: Final[int]
WRITABLE: Final[int]

class SocketPoller(TrioHost):
    """Calls back when a watched descriptor is ready, level-triggered, one after the other.

    A callback gets the present events: READABLE, WRITABLE, or EPOLLHUP and EPOLLERR, which epoll
    always reports; a read or write then tells the cause. If the callback does not read, write or
    `change` its events, the poller calls it again at once. A callback returns True if there is
    probably more to read than it took; other descriptors then go first. If a callback raises, the
    poller forgets its descriptor: callers have their own error barriers, and this last one keeps
    the worker alive.
    """

    now_ns: int  # CLOCK_MONOTONIC when the present turn began, in nanoseconds

    def watch(
        self, descriptor: int, ready: Callable[[int], bool | None], events: int = ...
    ) -> None:
        """Call `ready` on `events` until `forget`, which must come before the close.

        Raises:
            OSError: the descriptor cannot be watched, or is watched already.
        """
    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events; 0 leaves only EPOLLHUP and EPOLLERR.

        Raises:
            KeyError: the descriptor is not watched.
        """
    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more; do nothing if it was not watched."""
    def at_end(self, work: Callable[[], object]) -> None:
        """Run `work` once, at the end of this turn and before its writes."""
    def when_idle(self, work: Callable[[], object]) -> None:
        """Run `work` once, before Trio's tasks run next.

        That is when Trio has something to do, when no socket has been ready for
        `limits.turn_wait_seconds`, or when the first such work waits for `limits.turns_seconds_max`.
        """
    def write_at_end(self, work: Callable[[], object]) -> None:
        """Run `work` once, at the end of this turn, after all other work."""
    def check_each_turn(self, check: TurnCheck) -> None:
        """Run `check` at the start of each turn, before its sockets."""
    async def run(self) -> None:
        """Take turns until cancelled."""
    def take_turn(self) -> bool:
        """Serve what is ready now; return False if there was nothing to do.

        Sockets for which no time is left come first in the next turn.
        """
    def finish(self) -> None:
        """Run now all work that waits for the end of a turn or for an idle moment."""
    def close(self) -> None:
        """Run the work that is due, and stop watching."""
