"""C face of the gate and its permits."""

from libc.stdint cimport int64_t, uint64_t

from crewgate._native.credit cimport cg_hold
from crewgate._native.policy cimport Policy
from crewgate._native.table cimport Table, cg_branch
from crewgate._native.verified cimport TokenCache, Verified


cdef class Permit:
    cdef object __weakref__
    cdef Gate gate
    cdef Verified entry
    cdef cg_hold hold                       # slot NULL: nothing is held
    cdef uint64_t record, generation        # where a fixed price was settled at once
    cdef bint ended
    cdef readonly Py_ssize_t tool
    cdef readonly uint64_t price, remaining
    cdef readonly object would

    cdef int end(self, uint64_t cost) except -1


cdef class Gate:
    cdef object __weakref__
    cdef readonly Table table
    cdef uint64_t attachment
    cdef bint holds
    cdef Policy policy
    cdef TokenCache cache
    cdef list slots                         # free ones of this process
    cdef uint64_t wall, boot                # a test's clocks
    cdef uint64_t hits, misses, dropped
    cdef object process

    cdef bint fresh(self, Policy policy, uint64_t boot)
    cdef bint is_revoked(self, Verified entry)
    cdef bint ends(self, Verified entry)
    cdef cg_branch *find(self, Verified entry)
    cdef object judge(self, Policy policy, Verified entry, Py_ssize_t tool, bytes request,
                      object peer_crew, bint observe, bint drawn, uint64_t wall, uint64_t boot)
    cdef bint ungoverned(self, cg_branch *branch, Verified entry)
    cdef Permit permit(self, Verified entry, Py_ssize_t tool, uint64_t price)
    cdef Permit observed(self, Verified entry, Py_ssize_t tool, object denial)
    cdef object charge(self, Policy policy, Verified entry, cg_branch *branch, Py_ssize_t tool,
                       bytes request, uint64_t wall, uint64_t boot)
    cdef int reserve(self, Permit permit, bytes request, uint64_t wall, uint64_t boot) except -1
    cdef Py_ssize_t take_slot(self) except -2
    cdef object short(self, Verified entry, cg_branch *branch, uint64_t price)
