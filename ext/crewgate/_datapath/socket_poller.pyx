"""Polls all sockets of a worker in turns; the stub says how.

An event holds the address of its `Pollable`. `watched` keeps each `Pollable` alive, and
`forget_native` takes its events out of the queue. So no event outlives its `Pollable`, and none
reaches another socket with the same descriptor.
"""

import logging
import select
from collections import OrderedDict
from math import inf

import trio

from crewgate import limits

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport PyObject
from libc.errno cimport EINTR, errno
from libc.limits cimport INT_MAX
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC
from posix.unistd cimport close

from crewgate._datapath.trio_host cimport TrioHost
from crewgate._datapath.turn_work cimport Pollable, TurnCheck, TurnWork

cdef extern from "<sys/epoll.h>" nogil:
    const int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int descriptor, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int size, int milliseconds)

cdef extern from "clock.h" nogil:
    uint64_t cg_clock_ns(int clock)

_log = logging.getLogger(__name__)
READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT


cdef class CallbackPollable(Pollable):
    """Calls a Python callback with the events."""

    cdef bint ready(self, uint32_t events) except -1:
        return bool(self.callback(events))


cdef int run_guarded(list pending) except -1:
    """Run each `TurnWork` or Python callable, and log exceptions."""
    for work in pending:
        try:
            if isinstance(work, TurnWork):
                (<TurnWork>work).is_due = False
                (<TurnWork>work).run()
            else:
                work()
        except Exception:
            _log.exception("skipping deferred work at the end of a poller turn: internal error")
    return 0


cdef class SocketPoller(TrioHost):
    """See the stub."""

    def __cinit__(self):
        self.epoll = -1
        self.queue_size, self.bulk_max = limits.turn_events_max, limits.turn_bulk_events_max
        self.turn_ns_max = <uint64_t>(limits.turn_seconds_max * 1e9)
        self.bulk_ns_max = <uint64_t>(limits.turn_bulk_seconds_max * 1e9)
        self.bulk_look_ns = <uint64_t>(limits.turn_bulk_look_seconds * 1e9)
        self.call_ns_max = <uint64_t>(limits.turn_socket_seconds_max * 1e9)
        self.turns_ns_max = <uint64_t>(limits.turns_seconds_max * 1e9)
        self.turn_wait_ns = <uint64_t>(limits.turn_wait_seconds * 1e9)
        self.check_ns_max = <uint64_t>(limits.revocation_look_seconds * 1e9)
        self.watched, self.bulk = {}, OrderedDict()
        self.end_work, self.idle_work, self.writes = [], [], []
        self.queue = <epoll_event *>PyMem_Calloc(self.queue_size, sizeof(epoll_event))
        if self.queue == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.epoll >= 0:
            close(self.epoll)
        PyMem_Free(self.queue)

    def watch(self, int descriptor, ready, uint32_t events=READABLE):
        cdef CallbackPollable what = CallbackPollable()
        what.callback = ready
        self.watch_native(what, descriptor, events)

    def change(self, int descriptor, uint32_t events):
        self.change_native(self.watched[descriptor], events)

    def forget(self, int descriptor):
        cdef Pollable what = self.watched.get(descriptor)
        if what is not None:
            self.forget_native(what)

    def at_end(self, work not None):
        self.end_work.append(work)
        self.finish_soon()

    def when_idle(self, work not None):
        self.add_idle(work)

    def write_at_end(self, work not None):
        self.writes.append(work)
        self.finish_soon()

    def check_each_turn(self, TurnCheck check):
        self.check = check

    async def run(self):
        self.token = trio.lowlevel.current_trio_token()
        self.finish_soon()
        await self.run_around_trio()
        await self.run_inside_trio()

    async def run_inside_trio(self):
        """Take turns in a task, which waits until a socket is ready."""
        while True:
            if self.next_queued < self.queued_end or self.bulk:
                await trio.lowlevel.checkpoint()
            else:
                longest = inf if self.check is None else limits.revocation_look_seconds
                with trio.move_on_after(longest):
                    await trio.lowlevel.wait_readable(self.epoll)
            self.turns(0)

    def take_turn(self):
        return self.turn(0)

    def finish(self):
        cdef list pending
        self.in_turn = True
        self.end_turn()
        while self.idle_work:
            pending, self.idle_work = self.idle_work, []
            run_guarded(pending)
            self.end_turn()
        self.in_turn = False

    def close(self):
        self.finish()
        for what in list(self.watched.values()):
            self.forget_native(what)
        if self.epoll >= 0:
            close(self.epoll)
            self.epoll = -1

    cdef int add_trio(self, int descriptor) except -1:
        self.trio = CallbackPollable()  # it has no callback: `poll` removes its events
        self.watch_native(self.trio, descriptor, EPOLLIN)
        return 0

    cdef int remove_trio(self) except -1:
        if self.trio is not None:
            self.forget_native(self.trio)
            self.trio = None
        return 0

    # For native callers.

    cdef int watch_native(self, Pollable what, int descriptor, uint32_t events) except -1:
        cdef epoll_event event
        if what.is_watched:
            raise ValueError("the socket is watched already")
        event.events = events
        event.data.ptr = <void *>what
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, descriptor, &event) < 0:
            PyErr_SetFromErrno(OSError)
        if descriptor in self.watched:
            self.drop(self.watched[descriptor])  # it was closed, so the kernel has forgotten it
        what.descriptor, what.events = descriptor, events
        what.is_bulky, what.is_called_again, what.waiting_events = False, False, 0
        what.is_watched = True
        self.watched[descriptor] = what
        return 0

    cdef int change_native(self, Pollable what, uint32_t events) except -1:
        cdef epoll_event event
        if not what.is_watched:
            raise ValueError("the descriptor is not watched")
        event.events = events
        event.data.ptr = <void *>what
        if epoll_ctl(self.epoll, EPOLL_CTL_MOD, what.descriptor, &event) < 0:
            PyErr_SetFromErrno(OSError)
        what.events = events
        if what.waiting_events and not what.is_called_again:
            what.waiting_events = 0
            self.bulk.pop(what, None)
        return 0

    cdef int forget_native(self, Pollable what) except -1:
        if not what.is_watched:
            return 0
        self.drop(what)
        if epoll_ctl(self.epoll, EPOLL_CTL_DEL, what.descriptor, NULL) < 0:
            PyErr_SetFromErrno(OSError)
        return 0

    cdef int call_again(self, Pollable what) except -1:
        if what.is_watched:
            what.is_called_again = what.is_bulky = True
            what.waiting_events |= EPOLLIN
            self.bulk[what] = None
        return 0

    cdef int drop(self, Pollable what) except -1:
        cdef int i
        what.is_watched = False
        for i in range(self.next_queued, self.queued_end):
            if self.queue[i].data.ptr == <void *>what:
                self.queue[i].data.ptr = NULL
        if what.waiting_events:
            what.waiting_events = 0
            self.bulk.pop(what, None)
        del self.watched[what.descriptor]
        return 0

    cdef int at_end_native(self, TurnWork work) except -1:
        return self.defer(self.end_work, work)

    cdef int write_at_end_native(self, TurnWork work) except -1:
        return self.defer(self.writes, work)

    cdef int defer(self, list pending, TurnWork work) except -1:
        if not work.is_due:
            work.is_due = True
            pending.append(work)
            self.finish_soon()
        return 0

    cdef int when_idle_native(self, TurnWork work) except -1:
        if not work.is_due:
            work.is_due = True
            self.add_idle(work)
        return 0

    cdef int add_idle(self, object work) except -1:
        if not self.idle_work:
            self.idle_since_ns = self.now_ns
        self.idle_work.append(work)
        self.finish_soon()
        return 0

    # Turns.

    cdef int turns(self, uint64_t due_ns) except -1:
        """Take turns until Trio has something to do: at `due_ns`, or when it gets work.

        Trio then waits until no socket is ready, but no longer than `turns_seconds_max`.
        """
        cdef uint64_t now = cg_clock_ns(CLOCK_MONOTONIC), waits_since = 0, wait = 0
        cdef bint worked
        self.is_trio_due = False
        if now >= due_ns:
            waits_since = now
        while True:
            if not waits_since:
                # Calls that end a moment later share the write of the audit.
                wait = min(due_ns - now, self.turn_wait_ns if self.idle_work else UINT64_MAX)
            worked = self.turn(wait)
            now = cg_clock_ns(CLOCK_MONOTONIC)
            if self.idle_work and now - self.idle_since_ns >= self.turns_ns_max:
                self.finish()
            if self.is_trio_due or now >= due_ns:
                waits_since = waits_since or now
                if not worked or now - waits_since >= self.turns_ns_max:
                    break
                wait = 0
        self.finish()
        return 0

    cdef bint turn(self, uint64_t wait_ns) except -1:
        """Serve what is ready within `wait_ns`; return False if there was nothing to do.

        Sockets for which no time is left come first in the next turn.
        """
        cdef bint is_idle
        if self.next_queued == self.queued_end:
            self.poll(0 if self.bulk or self.end_work or self.writes else wait_ns)
        self.now_ns = cg_clock_ns(CLOCK_MONOTONIC)
        is_idle = self.next_queued == self.queued_end and not self.bulk
        self.in_turn = True
        try:
            if self.check is not None:
                self.check.run(self.now_ns, self.is_quiet)
            if is_idle and not (self.end_work or self.writes):
                if not self.idle_work:
                    return False
                self.finish()
                return True
            self.call_queued()
            if self.bulk:
                self.call_bulky()
            self.end_turn()
        finally:
            self.in_turn = False
        return True

    cdef int poll(self, uint64_t wait_ns) except -1:
        """Ask the kernel what is ready. Set bulky sockets and Trio's epoll apart."""
        cdef int milliseconds, count, i
        cdef Pollable what
        if self.check is not None and self.check.is_timed:
            wait_ns = min(wait_ns, self.check_ns_max)
        milliseconds = <int>min(wait_ns / 1_000_000 + (wait_ns % 1_000_000 > 0), <uint64_t>INT_MAX)
        self.next_queued = self.queued_end = 0
        with nogil:
            count = epoll_wait(self.epoll, self.queue, self.queue_size, milliseconds)
        self.is_quiet = count == 0 and wait_ns >= self.check_ns_max
        if count < 0:
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            return PyErr_CheckSignals()
        for i in range(count):
            what = <Pollable><PyObject *>self.queue[i].data.ptr
            if what is self.trio:
                self.is_trio_due = True
            elif what.is_bulky:
                what.waiting_events |= self.queue[i].events
                self.bulk[what] = None
            else:
                self.queue[self.queued_end] = self.queue[i]
                self.queued_end += 1
        return 0

    cdef int call_queued(self) except -1:
        cdef uint64_t until = self.now_ns + self.turn_ns_max
        cdef epoll_event *event
        self.called_ns = self.now_ns
        while self.next_queued < self.queued_end and self.called_ns <= until:
            event = &self.queue[self.next_queued]
            self.next_queued += 1
            if event.data.ptr != NULL:  # else an earlier call has forgotten the socket
                self.call(<Pollable><PyObject *>event.data.ptr, event.events)
        return 0

    cdef int call_bulky(self) except -1:
        """Call some bulky sockets, the first come first, until others are ready.

        It ends early because the writes that follow take time too.
        """
        cdef uint32_t events
        cdef Pollable what
        self.called_ns = cg_clock_ns(CLOCK_MONOTONIC)
        cdef uint64_t until = self.called_ns + self.bulk_ns_max
        cdef uint64_t look_ns = self.called_ns + self.bulk_look_ns
        for _count in range(self.bulk_max):
            if self.called_ns > look_ns:
                if self.next_queued == self.queued_end:
                    self.poll(0)
                if self.next_queued < self.queued_end:
                    break
                look_ns = self.called_ns + self.bulk_look_ns
            if not self.bulk or self.called_ns > until:
                break
            what = self.bulk.popitem(last=False)[0]
            events, what.waiting_events = what.waiting_events, 0
            self.call(what, events)
        return 0

    cdef int call(self, Pollable what, uint32_t events) except -1:
        cdef uint64_t begun_ns = self.called_ns
        what.is_called_again = False
        try:
            what.is_bulky = what.ready(events)
        except Exception:
            _log.exception("no longer polling a connection: internal error in its callback")
            self.forget_native(what)
        self.called_ns = cg_clock_ns(CLOCK_MONOTONIC)
        what.is_bulky = what.is_bulky or self.called_ns - begun_ns > self.call_ns_max
        return 0

    cdef int end_turn(self) except -1:
        cdef list pending
        while self.end_work or self.writes:
            if self.end_work:
                pending, self.end_work = self.end_work, []
            else:
                pending, self.writes = self.writes, []
            run_guarded(pending)
        return 0

    cdef int finish_soon(self) except -1:
        """Let Trio call `finish`, unless a present or a later turn does."""
        if not (self.in_turn or self.is_around_trio) and self.token is not None:
            self.token.run_sync_soon(self.finish, idempotent=True)
        return 0
