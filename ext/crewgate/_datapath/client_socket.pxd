"""The C interface of a client's socket."""

from libc.stdint cimport uint32_t, uint64_t

from crewgate._datapath.socket_poller cimport SocketPoller
from crewgate._datapath.turn_work cimport Pollable
from crewgate._datapath.wire_protocol cimport NativeWireProtocol


cdef class ClientSocket(Pollable):
    cdef public object peer             # ClientInfo
    cdef SocketPoller poller
    cdef readonly object sock
    cdef int number                     # the descriptor of `sock`
    cdef object read, write             # of OpenSSL's object, from `start` to `stop`
    cdef readonly bint is_secure        # the handshake is complete
    cdef readonly bint is_stopped       # it neither reads nor writes any more
    cdef bint is_busy                   # the poller calls it; `ended` must wait for its return
    cdef bint is_finished               # `ended` was called
    cdef bint is_lingering              # it discards input until the client closes
    cdef readonly object protocol       # a WireProtocol, from `start` on
    cdef NativeWireProtocol native      # the same, if it is native
    cdef bytes unsent                   # OpenSSL wants the same bytes again
    cdef uint64_t unsent_since_ns       # CLOCK_MONOTONIC
    cdef bint wants_write               # the socket is full, or a read must wait for a write
    cdef readonly bint peer_closed

    # Have the protocol's output written at the end of this turn.
    cdef int wake_native(self) except -1

    cdef bint serve(self, uint32_t events) except -1
    cdef int write_output(self) except -1
    cdef int leave(self) except -1
    cdef int finish(self) except -1
    cdef bint discard_input(self) except -1
    cdef bint is_paused(self) except -1
    cdef bint is_closing(self) except -1
    cdef bint is_behind(self) noexcept
    cdef bint wants_output(self) except -1
    cdef bint shake_hands(self) except -1
    cdef bint receive(self) except -1
    cdef int take_held(self) except -1
    cdef bint flush(self) except -1
    cdef int keep(self, bytes unsent) except -1
    cdef object next_piece(self)
    cdef int choose_events(self) except -1
    cdef int end(self, bint peer_closed) except -1
    cdef int fail(self) except -1
