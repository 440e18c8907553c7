"""C face of leases."""

from libc.stdint cimport uint64_t

from crewgate._native.attachments cimport AttachmentTable
from crewgate._native.table cimport cg_branch, cg_table, cg_word


cdef extern from "owner.h" nogil:
    uint64_t cg_begin_draw(cg_branch *branch, uint64_t need)
    void cg_lend(cg_table *t, cg_branch *branch, uint64_t amount)
    void cg_refuse(cg_table *t, cg_branch *branch, uint64_t level, uint64_t need, uint64_t used,
                   uint64_t quota, uint64_t window)
    void cg_grant(cg_table *t, cg_branch *branch, uint64_t amount)
    uint64_t cg_take_back(cg_table *t, cg_branch *branch, uint64_t most)


cdef class LeaseTable(AttachmentTable):
    cdef cg_branch *live(self, uint64_t number) except NULL
