"""Holds the connections that may carry another call, by reuse key; see the stub."""

cdef class ReusableConnections:
    """See the stub."""

    def __cinit__(self):
        self.by_key = {}

    def __contains__(self, key):
        return key in self.by_key or None in self.by_key

    cpdef add(self, connection):
        key = connection.reuse_key
        cdef list found = self.by_key.pop(key, None)
        if found is None:
            found = []
        found.append(connection)
        self.by_key[key] = found  # as the last key

    cpdef take(self, key):
        cdef list found = self.by_key.get(key)
        if found is None:
            key = None
            found = self.by_key.get(key)
            if found is None:
                return None
        connection = found.pop()
        if not found:
            del self.by_key[key]
        return connection

    def take_oldest(self, *excluded, bint idle):
        for key, found in self.by_key.items():
            if key in excluded:
                continue
            for connection in found:
                if connection.is_idle or not idle:
                    self.discard(connection)
                    return connection
        return None

    cpdef discard(self, connection):
        key = connection.reuse_key
        cdef list found = self.by_key.get(key)
        if found is not None and connection in found:
            found.remove(connection)
            if not found:
                del self.by_key[key]
