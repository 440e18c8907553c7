"""The C interface of permits."""

from libc.stdint cimport uint64_t

from crewgate._native.call_limits cimport LimitSet, TakenLimits
from crewgate._native.credit cimport cg_hold
from crewgate._native.policy cimport Policy
from crewgate._native.rules cimport cg_answered
from crewgate._native.table cimport Table, cg_slot
from crewgate._native.token_cache cimport VerifiedToken


cdef enum:
    LIMITED = 16                            # beside the results of `credit.h`


cdef class GateContext:
    cdef object __weakref__
    cdef Table table
    cdef Policy policy                      # the one in force
    cdef uint64_t attachment
    cdef list slots                         # the free ones of this process
    cdef uint64_t dropped
    cdef uint64_t boot                      # the clock of a test

    cdef Py_ssize_t take_slot(self) except -2
    cdef uint64_t now(self) noexcept


cdef class Permit:
    cdef object __weakref__
    cdef GateContext holder
    cdef VerifiedToken entry
    cdef cg_hold hold                       # slot NULL: nothing is held
    cdef uint64_t record, generation        # of the branch with a price settled at once
    cdef bint ended
    cdef TakenLimits taken                  # None if no limit is about the call
    cdef unsigned forks                     # `cg_forks` of the process that made it
    cdef readonly bint in_observe_mode      # the mode of its crew, tool or listener
    cdef bint is_upper_bound                # the call may cost less than the price
    cdef bint stale_open                    # `Policy.goes_on_stale` of its tool
    cdef readonly Py_ssize_t tool
    cdef readonly uint64_t price_micro
    cdef readonly uint64_t lease_remaining_micro
    cdef readonly object observed_reason
    cdef readonly object finding            # the StepFinding of a rule on branches, or None
    cdef cg_answered answered               # ended_ms is 0 until the answer is counted

    cdef object granted(self)
    cdef bint holds_credit(self) except -1
    cdef bint is_open(self)
    cdef int was_answered(self, uint64_t answer, int status, bint is_failed,
                          uint64_t retry_seconds, uint64_t cost) except -1
    cdef uint64_t branch_unspent(self) except? 0
    cdef int reserve(self, bytes request, LimitSet limit_set, uint64_t wall,
                     uint64_t boot) except -1
    cdef int claim(self, cg_slot *attribution, LimitSet limit_set, uint64_t boot) except -1
    cdef int count(self, LimitSet limit_set, uint64_t boot) except -1
    cdef int spend(self, LimitSet limit_set, uint64_t boot) except -1
    cdef int end(self, uint64_t cost) except -1
    cdef int leave_limits(self) except -1
    cdef int undo(self) except -1


# Return the grant of a permit, or of an object with the same attributes.
cdef object grant_of(object permit)

cdef Permit new_permit(GateContext holder, VerifiedToken entry, Py_ssize_t tool, uint64_t price)
