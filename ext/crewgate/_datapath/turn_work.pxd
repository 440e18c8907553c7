"""The C interface of what a `SocketPoller` calls; native callers subclass it."""

from libc.stdint cimport uint32_t, uint64_t


cdef class TurnWork:
    cdef bint is_due                # the poller runs it soon; `run` may make it due again

    cdef int run(self) except -1


# The work of a socket is its write.
cdef class Pollable(TurnWork):
    cdef int descriptor             # while `is_watched`
    cdef uint32_t events            # the events that the poller watches for
    cdef bint is_watched
    cdef bint is_bulky              # the last call returned True, or took long
    cdef uint32_t waiting_events    # of a bulky one that is ready and was not called yet
    cdef bint is_called_again       # it waits for a call without an event; see `call_again`

    # Read, write, or change the events. Return whether there is probably more to read.
    cdef bint ready(self, uint32_t events) except -1


cdef class TurnCheck:
    cdef bint is_timed              # also run it every `revocation_look_seconds` without a turn

    # Run at the start of each turn, at `now_ns` (CLOCK_MONOTONIC). If `is_quiet`, no socket was
    # ready for `revocation_look_seconds`. An exception ends the turns.
    cdef int run(self, uint64_t now_ns, bint is_quiet) except -1
