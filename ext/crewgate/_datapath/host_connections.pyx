"""Holds what each call uses of the connections to one host; see the stub."""

from crewgate._datapath.balancer cimport HostLoad
from crewgate._datapath.reusable_connections cimport ReusableConnections


cdef class CallQueue:
    """See the stub."""


cdef class HostConnections:
    """See the stub."""

    def __init__(self, HostLoad host not None, CallQueue waiting not None):
        self.host = host
        self.free = ReusableConnections()
        self.waiting = waiting
