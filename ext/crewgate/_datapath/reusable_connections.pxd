"""The C interface of the connections that may carry another call."""


cdef class ReusableConnections:
    cdef dict by_key  # lists of connections; the key that was used longest ago comes first

    cpdef add(self, connection)
    cpdef take(self, key)
    cpdef discard(self, connection)
