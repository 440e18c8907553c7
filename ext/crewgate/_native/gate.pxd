"""The C interface of the gate."""

from libc.stdint cimport int64_t, uint64_t

from crewgate._native.call_limits cimport LimitSet, TakenLimits
from crewgate._native.permit cimport GateContext, Permit
from crewgate._native.policy cimport Policy
from crewgate._native.presenter cimport Presenter
from crewgate._native.table cimport Table, cg_branch
from crewgate._native.token_cache cimport TokenCache, VerifiedToken


cdef class Gate:
    cdef readonly Table table
    cdef readonly GateContext holder        # has the policy in force
    cdef bint holds
    cdef TokenCache cache
    cdef readonly object note_grant         # writes a grant that is new here, or None
    cdef readonly object note_step          # takes the steps of rules on branches, or None
    cdef uint64_t wall, boot                # the clocks of a test
    cdef uint64_t hits, misses

    cdef object verdict(self, bytes token, Py_ssize_t tool, bytes request, Presenter presenter,
                        bint observe, bint drawn, int64_t price, bint is_upper_bound, str name,
                        uint64_t call, bint counts)
    cdef object found_by_rules(self, Policy policy, VerifiedToken entry, Py_ssize_t tool, str name,
                               uint64_t call, bytes request, bint observe, uint64_t boot)
    cdef int tell(self, Policy policy, VerifiedToken entry, Py_ssize_t tool, str name,
                  bytes request, list noted, bint observe) except -1
    cdef int note(self, VerifiedToken entry, uint64_t boot) except -1
    cdef void read_clocks(self, uint64_t *wall, uint64_t *boot) noexcept
    cdef object verified(self, Policy policy, bytes token, Py_ssize_t tool, Presenter presenter,
                         uint64_t wall, uint64_t boot)
    cdef bint fresh(self, Policy policy, uint64_t boot)
    cdef object judge(self, Policy policy, VerifiedToken entry, Py_ssize_t tool, bytes request,
                      Presenter presenter, bint observe, bint drawn, int64_t bound,
                      bint is_upper_bound, str name, uint64_t call, bint counts, uint64_t wall,
                      uint64_t boot)
    cdef object misused(self, Policy policy, VerifiedToken entry, cg_branch *branch,
                        Py_ssize_t tool, Presenter presenter)
    cdef bint ungoverned(self, cg_branch *branch, VerifiedToken entry)
    cdef Permit observed(self, VerifiedToken entry, cg_branch *branch, Py_ssize_t tool,
                         bytes request, uint64_t wall, uint64_t boot, object denial)
    cdef object charge(self, Policy policy, VerifiedToken entry, cg_branch *branch, Py_ssize_t tool,
                       int64_t bound, bint is_upper_bound, LimitSet limit_set, bytes request,
                       uint64_t wall, uint64_t boot)
    cdef object limited(self, VerifiedToken entry, LimitSet limit_set, TakenLimits taken)
    cdef object short(self, VerifiedToken entry, cg_branch *branch, uint64_t price)
