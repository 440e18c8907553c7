"""The parts that a pool uses of a connection to a tool's server; see the stub."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from crewgate._datapath.transport cimport TransportProtocol


cdef class PooledConnection(TransportProtocol):
    """See the stub."""

    @property
    def free_streams(self):
        return self.free_count()

    def is_usable(self, caller):
        return self.may_carry(caller.idempotent)

    def received(self, bytes data not None):
        self.take(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef Py_ssize_t free_count(self) except -1:
        raise NotImplementedError

    cdef bint may_carry(self, bint idempotent) except -1:
        raise NotImplementedError

    cdef object straight_stream(self):
        raise NotImplementedError
