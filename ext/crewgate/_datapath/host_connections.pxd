"""The C interface of the part of a host's pool that each call uses."""

from crewgate._datapath.balancer cimport HostLoad
from crewgate._datapath.reusable_connections cimport ReusableConnections


cdef class CallQueue:
    cdef public Py_ssize_t needed  # connections


cdef class HostConnections:
    cdef readonly HostLoad host
    cdef readonly ReusableConnections free
    cdef public CallQueue waiting
