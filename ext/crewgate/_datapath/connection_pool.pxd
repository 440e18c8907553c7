"""The C interface of the pool of an upstream's connections, as its connections and calls use it."""

from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC

from crewgate._datapath.balancer cimport HostChooser
from crewgate._datapath.host_connections cimport HostConnections
from crewgate._datapath.retry_budget cimport RetryBudget

cdef extern from "clock.h" nogil:
    uint64_t cg_clock_ns(int clock)


cdef inline double monotonic() noexcept nogil:
    return cg_clock_ns(CLOCK_MONOTONIC) / 1e9


cdef class PoolCallbacks:
    cdef public double first_byte_seconds, idle_seconds, keep_seconds
    cdef public bint retries

    cpdef left(self, connection, bint answered)
    cpdef freed(self, connection)


cdef class ConnectionPool(PoolCallbacks):
    cdef readonly HostChooser hosts
    cdef readonly RetryBudget retry_budget
    cdef str reuse  # of the upstream's configuration
    cdef public bint is_closed
    cdef readonly dict by_host  # the HostPool of each host
    cdef readonly dict by_connection  # the HostPool of each open connection

    cpdef reuse_key(self, permit)
    # Take a stream of a connection that may carry a call, and count a call of its host. Return None
    # if there is no such connection.
    cpdef take_idle(self, reuse_key, bint idempotent)
    cdef bint others_wait(self, HostConnections pool) except -1
