"""C face of attachments."""

from libc.stdint cimport uint64_t

from crewgate._native.table cimport Table, cg_table


cdef class AttachmentTable(Table):
    cdef int burn(self, uint64_t at, uint64_t owner, list burned) except -1
