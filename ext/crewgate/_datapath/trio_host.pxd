"""The C interface of a loop that runs around Trio's."""

from libc.stdint cimport uint64_t


cdef class TurnClock


cdef class TrioHost:
    cdef bint is_around_trio
    cdef bint is_trio_due           # a task can run, or a socket of one is ready
    cdef bint in_turn
    cdef object failed, failure     # an event, and the error that ended the turns

    # Take turns until Trio has something to do: at `due_ns` (CLOCK_MONOTONIC), or `is_trio_due`.
    cdef int turns(self, uint64_t due_ns) except -1
    cdef int add_trio(self, int descriptor) except -1
    cdef int remove_trio(self) except -1

    cdef int begin(self, TurnClock clock, int descriptor) except -1
    cdef int end(self, TurnClock clock) except -1


cdef class TurnClock:
    cdef TrioHost host              # while its turns run around Trio
    cdef bint took_turns            # since the last wait of Trio

    cdef int take_turns(self, uint64_t due_ns) except -1
