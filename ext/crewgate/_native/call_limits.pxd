"""The C interface of limits on calls (`call_limits.h`)."""

from libc.stdint cimport uint32_t, uint64_t

from crewgate._native.table cimport Table, cg_table, cg_word


cdef extern from "call_limits.h" nogil:
    const uint32_t CG_OF_CELLS, CG_OF_BRANCH, CG_OF_RUN

    ctypedef struct cg_limit:
        uint64_t interval, slack
        uint32_t places, of
        bint is_observed
        const uint32_t *at

    ctypedef struct cg_limit_taken:
        cg_word *word
        uint64_t value, interval

    cg_word *cg_limit_word(const cg_table *t, const cg_limit *limit, uint64_t record, uint64_t at)
    uint64_t cg_rate_wait(const cg_word *word, const cg_limit *limit, uint64_t now)
    uint64_t cg_rate_take(cg_word *word, const cg_limit *limit, uint64_t now,
                          cg_limit_taken *taken)
    uint64_t cg_place_of(uint64_t slot, uint64_t state)
    cg_word *cg_take_place(const cg_table *t, const cg_limit *limit, uint64_t record,
                           uint64_t place, uint64_t first)
    void cg_undo_taken(const cg_limit_taken *taken, uint64_t now)


cdef class LimitSet:
    """The limits of the calls that one crew and role make of one tool."""
    cdef cg_limit *each
    cdef uint32_t *at                       # of all of them
    cdef Py_ssize_t count
    cdef bint has_places
    cdef bint lacks_words                   # the agent has not given it all of its words
    cdef tuple limits                       # the CallLimit of each


cdef class PolicyLimits:
    cdef object scopes                      # a LimitScopes
    cdef dict words                         # key → number of a cell, or of a word of a branch
    cdef dict sets                          # by crew, role, tool and part

    cdef LimitSet find(self, str crew, str role, Py_ssize_t tool, str part)
    cdef LimitSet make(self, str crew, str role, Py_ssize_t tool, str part)


cdef class TakenLimits:
    """What a call has taken from its limits, until it gives it back."""
    cdef cg_limit_taken *each
    cdef cg_limit_taken[4] few              # `each`, unless the call has more limits
    cdef Py_ssize_t count
    cdef object observed_reason             # of the first limit that observes and has no room
    cdef Py_ssize_t refusing                # the limit that refused the call, or -1
    cdef uint64_t wait                      # for that limit, ns

    cdef bint take_rates(self, const cg_table *t, LimitSet limits, uint64_t record, uint64_t now)
    cdef bint take_places(self, const cg_table *t, LimitSet limits, uint64_t record, uint64_t slot,
                          uint64_t state)
    cdef int leave(self) except -1
    cdef int undo(self, uint64_t now) except -1


# Return what to take from limits; its `refusing` is set if a rate has no room now.
cdef TakenLimits look_at(const cg_table *t, LimitSet limits, uint64_t record, uint64_t now)
