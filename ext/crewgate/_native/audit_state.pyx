"""Keeps whether a process may admit calls, where compiled code reads it; see the stub."""


cdef class AuditWriterState:
    """See the stub."""


cdef class AuditRecorderState:
    """See the stub."""

    cdef bint can_record(self) except -1:
        return self.state.writable or not self.refuses_when_full

    def ready(self):
        return self.can_record()
