"""The C interface of the poller; native callers subclass what `turn_work` has."""

from libc.stdint cimport uint32_t, uint64_t

from crewgate._datapath.trio_host cimport TrioHost
from crewgate._datapath.turn_work cimport Pollable, TurnCheck, TurnWork


cdef extern from "<sys/epoll.h>" nogil:
    # The kernel returns `data` with each event.
    ctypedef union epoll_data_t:
        void *ptr

    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data

    const uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP


cdef class CallbackPollable(Pollable):
    cdef object callback


cdef class SocketPoller(TrioHost):
    cdef readonly uint64_t now_ns   # CLOCK_MONOTONIC, when the present turn began
    cdef int epoll
    cdef epoll_event *queue         # sockets that are ready and were not called yet
    cdef int next_queued, queued_end, queue_size
    cdef int bulk_max
    cdef uint64_t turn_ns_max, bulk_ns_max, bulk_look_ns, call_ns_max
    cdef uint64_t turns_ns_max, turn_wait_ns, check_ns_max
    cdef uint64_t called_ns         # when the last call of a socket ended, or the first one began
    cdef dict watched               # by descriptor
    cdef object bulk                # bulky sockets that are ready, the first come first
    cdef list end_work, idle_work, writes
    cdef uint64_t idle_since_ns     # when the first of `idle_work` was added
    cdef TurnCheck check
    cdef bint is_quiet
    cdef object token               # of the Trio run
    cdef CallbackPollable trio      # Trio's epoll, while the turns run around Trio

    # Raise OSError, also if the descriptor is watched already; ValueError if `what` is.
    cdef int watch_native(self, Pollable what, int descriptor, uint32_t events) except -1
    cdef int change_native(self, Pollable what, uint32_t events) except -1
    # Do nothing if `what` is not watched. No event reaches `what` any more.
    cdef int forget_native(self, Pollable what) except -1
    # Call `what` with EPOLLIN, among the next bulky sockets; do nothing if it is not watched.
    cdef int call_again(self, Pollable what) except -1
    # Run `work` once; do nothing if it is due already.
    cdef int at_end_native(self, TurnWork work) except -1
    cdef int write_at_end_native(self, TurnWork work) except -1
    cdef int when_idle_native(self, TurnWork work) except -1

    cdef int drop(self, Pollable what) except -1
    cdef int defer(self, list pending, TurnWork work) except -1
    cdef int add_idle(self, object work) except -1
    cdef bint turn(self, uint64_t wait_ns) except -1
    cdef int poll(self, uint64_t wait_ns) except -1
    cdef int call_queued(self) except -1
    cdef int call_bulky(self) except -1
    cdef int call(self, Pollable what, uint32_t events) except -1
    cdef int end_turn(self) except -1
    cdef int finish_soon(self) except -1
