"""The C interface of what a process knows about its audit."""


cdef class AuditWriterState:
    cdef public bint writable


cdef class AuditRecorderState:
    cdef public AuditWriterState state
    cdef public bint refuses_when_full

    cdef bint can_record(self) except -1
