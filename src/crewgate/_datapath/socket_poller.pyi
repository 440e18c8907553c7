"""Polls all sockets of a worker in turns: one Trio task instead of one wait for each request.

One turn:

1. Call back each socket that is ready, once.
2. Call some of the sockets with large bodies (see below).
3. Run the work that was deferred to the end of the turn (`at_end`), then the writes
   (`write_at_end`), one for each connection.

When no socket has been ready for a moment, and at the latest after `limits.turns_seconds_max`, the
idle work (`when_idle`: audit and settlement) runs, and then Trio's other tasks. So the calls of many
turns share one write of the audit. A wait of Trio costs 7 µs and a system call; a turn shares one
among all ready sockets. The poller knows sockets by number, and nothing of what they carry.

Sockets of large bodies always have more to read, so they come after all others and few in each
turn. A small call then waits for a few of them and not for all (sparse flows first, as in FQ-CoDel,
RFC 8290 §4.2).

The poller's epoll, which only Linux has, is nested in Trio's own, so that tasks and turns share one
loop. Tasks wait for turns at most `limits.turns_seconds_max` at a time, and hardly longer than
`limits.turn_seconds_max` if a single turn takes more.
"""

from collections.abc import Callable
from typing import Final

READABLE: Final[int]
WRITABLE: Final[int]

class Pollable:
    """A socket that native code watches. Only native code can subclass it."""

class TurnWork:
    """Work that native code defers to the end of a turn. Only native code can subclass it."""

class SocketPoller:
    """Calls back when a watched descriptor is ready, level-triggered, one after the other.

    A callback gets the present events: READABLE, WRITABLE, or EPOLLHUP and EPOLLERR, which epoll
    always reports; a read or write then tells the cause. The callback must read, write or `change`
    its events, or it is called again at once. A callback returns True if there is probably more to
    read than it took; other descriptors then go first. If a callback raises, its descriptor is
    forgotten: callers have their own error barriers, and this last one keeps the worker alive.
    """

    now_ns: int  # CLOCK_MONOTONIC when the present turn began, in nanoseconds

    def watch(
        self, descriptor: int, ready: Callable[[int], bool | None], events: int = ...
    ) -> None:
        """Call `ready` on `events` until `forget`, which must come before the close.

        Raises:
            OSError: the descriptor cannot be watched.
            ValueError: the descriptor is watched already.
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

        That is when no socket has been ready for `limits.turn_wait_seconds`, or after turns of
        `limits.turns_seconds_max`.
        """
    def write_at_end(self, work: Callable[[], object]) -> None:
        """Run `work` once, at the end of this turn, after all other work."""
    def yield_to_trio(self) -> None:
        """Let Trio run a task that was just started as soon as no socket is ready."""
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
