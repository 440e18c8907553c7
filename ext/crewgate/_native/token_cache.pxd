"""The C interface of verified tokens and their cache."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from crewgate._native.call_limits cimport LimitSet
from crewgate._native.policy cimport Crew, Key, Policy
from crewgate._native.proof cimport KeyBinding
from crewgate._native.table cimport Table, cg_branch

cdef enum:
    KEYS_MAX = 16


cdef class VerifiedToken:
    cdef bytes token
    cdef object claims
    cdef object made                        # the Grant, made at its first use
    cdef Key key
    cdef Crew crew
    cdef tuple ceilings                     # each must allow what the token grants
    cdef bint requires_binding              # by one of the ceilings
    cdef tuple rules                        # that watch its calls
    cdef bint is_bound                      # to a key of its presenter
    cdef bint is_noted                      # the audit of this machine has the grant
    cdef KeyBinding binding                 # that a proof must show, or None
    cdef bytes certificate                  # digest of the certificate it must be, or None
    cdef int64_t not_before, not_after      # wall clock ns, leeway included
    cdef uint64_t issued_at, quota
    cdef uint64_t path[2]
    cdef uint64_t branch[2]
    cdef uint64_t jti[2]
    cdef int key_count, depth
    # Pairs of words: each is a key whose revocation ends this token.
    cdef uint64_t[2 * KEYS_MAX] keys
    cdef uint8_t *allowed                   # by tool: 0 unknown, 1 no, 2 yes
    cdef uint64_t record, generation        # where the branch's record was last found
    # The limits of its last tool, and those of others by number.
    cdef LimitSet limits
    cdef Py_ssize_t limited_tool
    cdef dict limits_by_tool
    cdef uint64_t clear_search              # of `cg_is_token_revoked`, in the table of the gate

    cdef object granted(self)
    cdef bint allows(self, Policy policy, Py_ssize_t tool)
    cdef bint covers(self, Policy policy, Py_ssize_t tool)
    cdef bint allows_name(self, str name)
    cdef LimitSet limits_of(self, Policy policy, Py_ssize_t tool, str name)
    cdef int add(self, const uint64_t *key) except -1


# Verify a token: return a VerifiedToken, or the Denial for its bearer.
cdef object verify(Policy policy, bytes token)

# Return the Denial if the wall clock (ns) is outside the token's times, else None.
cdef object untimely(VerifiedToken entry, int64_t now)


cdef class TokenCache:
    cdef list entries
    cdef uint64_t seed[2]
    cdef Py_ssize_t mask, hand
    cdef readonly Py_ssize_t size, bytes_held

    cdef Py_ssize_t home(self, bytes token)
    cdef VerifiedToken find(self, bytes token)
    cdef int add(self, VerifiedToken entry) except -1
    cdef int drop(self, Py_ssize_t at) except -1
    cdef int clear(self) except -1


cdef cg_branch *find_branch(Table table, VerifiedToken entry)
cdef bint is_revoked(Table table, VerifiedToken entry)
