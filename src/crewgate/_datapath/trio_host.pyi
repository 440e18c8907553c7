"""Runs the turns of a host, such as the poller of all sockets, around Trio's loop.

Trio asks its clock how long it may wait, directly before it waits. `TurnClock` takes turns then,
until Trio has something to do: a task can run, a socket for which a task waits is ready (the host
watches Trio's own epoll), or the next deadline has come. Trio then finds its work without waiting.
If tasks can run, Trio does not ask its clock; then the instrument takes turns, for as long as
sockets are ready and at most `limits.turns_seconds_max`.

Trio's guest mode would ask for a second thread, which waits for each event of Trio. A task that
waits for the host's epoll costs 7 µs and some system calls for each row of turns.

Work in a turn may wake tasks, start them and cancel scopes. It must not move the deadline of a
cancel scope: Trio learns that too late.
"""

from trio.abc import Clock

class TrioHost:
    """A loop that takes turns whenever Trio would wait. Only native code can subclass it."""

    async def run_around_trio(self) -> None:
        """Take turns around this run of Trio until cancelled; raise an error that a turn raises.

        If the run has no `TurnClock`, or if its clock has another host, return. If the host does
        not find Trio's epoll, or does not serve a socket within `limits.turns_proof_seconds_max`,
        log a warning and return.
        """

class TurnClock(Clock):
    """Trio's clock, and an instrument of Trio's loop: give it to `trio.run`.

    It shows CLOCK_MONOTONIC. Without a host it waits as Trio's own clock does. It is not for tests
    that use `trio.testing.wait_all_tasks_blocked`, which may wait until the next deadline.
    """

    def start_clock(self) -> None:
        """Called when the run begins."""
    def current_time(self) -> float:
        """Return CLOCK_MONOTONIC in seconds."""
    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Take turns; return the seconds for which Trio may wait."""
    def before_io_wait(self, timeout: float) -> None:
        """Take turns if tasks can run."""
    def task_scheduled(self, task: object) -> None:
        """Note that a task can run from now on."""
