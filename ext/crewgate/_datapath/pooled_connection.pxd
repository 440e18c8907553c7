"""The C interface of a connection that a pool keeps, whatever version of HTTP it speaks."""

from crewgate._datapath.connection_pool cimport PoolCallbacks
from crewgate._datapath.transport cimport Transport, TransportProtocol


cdef class PooledConnection(TransportProtocol):
    cdef readonly object host
    cdef readonly bytes authority
    cdef public object reuse_key
    cdef readonly PoolCallbacks pool
    cdef readonly Transport transport

    # How many further calls the connection may carry now.
    cdef Py_ssize_t free_count(self) except -1
    # Whether the connection seems alive, as far as a call needs to know that the pool may send
    # twice if it is `idempotent`.
    cdef bint may_carry(self, bint idempotent) except -1
    # Return the stream that carries a straight call; its `begin_straight` must follow at once.
    cdef object straight_stream(self)
