"""The C interface of a connection to a tool's server, below its wire protocol."""

from libc.stdint cimport uint32_t

from crewgate._datapath.socket_poller cimport SocketPoller
from crewgate._datapath.turn_work cimport Pollable, TurnWork


cdef class TransportProtocol(TurnWork):
    # Take the bytes of a read, which are valid during the call only.
    cdef int take(self, const char *data, Py_ssize_t size) except -1


cdef class Transport(Pollable):
    cdef public object protocol
    cdef public Py_ssize_t sent
    cdef readonly Py_ssize_t queued
    cdef TransportProtocol native_protocol  # `protocol`, if it is one; else None
    cdef SocketPoller poller
    cdef readonly object sock
    cdef object unsent
    cdef int fd  # -1: closed
    cdef bint is_tls
    # The events to watch for. The poller watches for none if the connection broke while reading was
    # paused.
    cdef uint32_t wanted

    cdef int send_bytes(self, bytes data) except -1
    cpdef pause(self)
    cpdef resume(self)
    cpdef bint is_stale(self)
    cpdef acknowledge(self)
    cpdef close(self)
    cdef int set_events(self, uint32_t events) except -1
    cdef Py_ssize_t push(self, bytes data) except -2
    cdef Py_ssize_t push_tls(self, bytes data) except -2
    cdef bint read(self) except -1
    cdef bint read_plain(self) except -1
    cdef int write(self) except -1
