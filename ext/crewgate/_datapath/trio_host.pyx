"""Runs the turns of a host around Trio's loop; the stub says how."""

import logging
from contextlib import suppress

import trio

from crewgate._datapath.trio_epoll import find_trio_epoll, reaches_sockets

from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC

cdef extern from "clock.h" nogil:
    uint64_t cg_clock_ns(int clock)

_log = logging.getLogger(__name__)
# 100 days are as good as never, and a double holds so many nanoseconds exactly.
cdef double DEADLINE_SECONDS_MAX = 8.64e6


cdef class TrioHost:
    """See the stub."""

    cdef int turns(self, uint64_t due_ns) except -1:
        raise NotImplementedError

    cdef int add_trio(self, int descriptor) except -1:
        raise NotImplementedError

    cdef int remove_trio(self) except -1:
        raise NotImplementedError

    async def run_around_trio(self):
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, TurnClock) or (<TurnClock>clock).host is not None:
            return
        descriptor = await find_trio_epoll()
        if descriptor is None:
            _log.warning("taking turns inside Trio, which costs more: no epoll of Trio is found")
            return
        self.failed = trio.Event()
        try:
            self.begin(clock, descriptor)
            if await reaches_sockets(self):
                await self.failed.wait()
                raise self.failure
        finally:
            self.end(clock)
        _log.warning("taking turns inside Trio, which costs more: Trio does not call its clock")

    cdef int begin(self, TurnClock clock, int descriptor) except -1:
        self.add_trio(descriptor)
        trio.lowlevel.add_instrument(clock)
        self.is_around_trio = True
        clock.host = self
        return 0

    cdef int end(self, TurnClock clock) except -1:
        clock.host = None
        if self.is_around_trio:
            self.is_around_trio = False
            with suppress(KeyError):  # Trio has removed it, and has logged why
                trio.lowlevel.remove_instrument(clock)
        self.remove_trio()
        return 0


cdef class TurnClock:
    """See the stub."""

    def start_clock(self):
        pass

    def current_time(self):
        return cg_clock_ns(CLOCK_MONOTONIC) / 1e9

    def deadline_to_sleep_time(self, double deadline):
        if self.host is None or self.host.in_turn:
            return deadline - self.current_time()
        self.took_turns = True
        self.take_turns(<uint64_t>(min(max(deadline, 0.0), DEADLINE_SECONDS_MAX) * 1e9))
        return 0.0

    def before_io_wait(self, timeout):
        if self.host is not None and not self.took_turns:
            self.take_turns(0)
        self.took_turns = False

    def task_scheduled(self, task):
        if self.host is not None:
            self.host.is_trio_due = True

    cdef int take_turns(self, uint64_t due_ns) except -1:
        """Take turns. If a turn raises, `run_around_trio` raises the error, and Trio goes on."""
        cdef TrioHost host = self.host
        try:
            host.turns(due_ns)
        except BaseException as error:
            self.host, host.failure = None, error
            host.failed.set()
        return 0


trio.abc.Clock.register(TurnClock)
