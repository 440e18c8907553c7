"""Counts calls in the limits of a policy, in words of the shared table (`call_limits.h`).

A call looks at all rates first, then takes a place of each limit on calls under way, and at last a
call of each rate. So a call that one limit refuses takes nothing from the others. What it took goes
back if there is no credit for it.
"""

from crewgate import limits as bounds
from crewgate.core.policy.call_limits import LimitScopes
from crewgate.core.reasons import Reason

from crewgate._native.limit_words import words_by_key

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from crewgate._native.table cimport (
    CG_BRANCH_LIMIT_WORDS, CG_CELL_WORDS, CG_LIMIT_CELLS, Table, cg_table,
)

cdef extern from "layout.h" nogil:
    bint cg_arm_fault(int64_t stores)

cdef object RATE_LIMITED = Reason.RATE_LIMITED
cdef object TOO_MANY_CALLS = Reason.TOO_MANY_CALLS
cdef Py_ssize_t SETS_MAX = bounds.call_limit_sets_max
cdef dict WORD_OWNERS = {"branch": CG_OF_BRANCH, "run": CG_OF_RUN}

if (bounds.table_limit_cells, bounds.table_limit_cell_words, bounds.table_branch_limit_words) != (
        CG_LIMIT_CELLS, CG_CELL_WORDS, CG_BRANCH_LIMIT_WORDS):
    raise ImportError("layout.h and crewgate.limits differ in the words for limits on calls")


def arm_fault(int64_t stores):
    """See the stub."""
    return cg_arm_fault(stores)


cdef class LimitSet:
    def __dealloc__(self):
        free(self.each)
        free(self.at)


cdef class PolicyLimits:
    """The limits of one policy, with the words that the agent of a table has given them."""

    def __cinit__(self, policy, Table table not None):
        self.scopes = LimitScopes.of(policy)
        self.words = words_by_key(table)
        self.sets = {}

    cdef LimitSet find(self, str crew, str role, Py_ssize_t tool, str part):
        key = crew, role, tool, part
        found = self.sets.get(key)
        if found is None:
            found = self.make(crew, role, tool, part)
            if len(self.sets) >= SETS_MAX:  # clients choose the parts, and issuers the roles
                self.sets.clear()
            self.sets[key] = found
        return <LimitSet>found

    cdef LimitSet make(self, str crew, str role, Py_ssize_t tool, str part):
        cdef LimitSet made = LimitSet.__new__(LimitSet)
        cdef cg_limit *one
        cdef Py_ssize_t size = 0, used = 0
        found = []
        for limit in self.scopes.limits:
            scope = self.scopes.scope(limit, crew, role, tool, part)
            if scope is not None:
                keys = limit.keys(scope)
                found.append((limit, keys))
                size += len(keys)
        made.limits = tuple([limit for limit, _ in found])
        made.each = <cg_limit *>calloc(len(found) + 1, sizeof(cg_limit))
        made.at = <uint32_t *>calloc(size + 1, sizeof(uint32_t))
        if made.each == NULL or made.at == NULL:
            raise MemoryError
        for limit, keys in found:
            one = &made.each[made.count]
            made.count += 1
            one.at = made.at + used
            one.of = WORD_OWNERS.get(limit.per, CG_OF_CELLS)
            one.is_observed = limit.observe
            one.places = limit.concurrent
            one.interval = limit.interval_ns
            one.slack = (limit.burst - 1) * limit.interval_ns
            made.has_places = made.has_places or one.places > 0
            for key in keys:
                number = self.words.get(key)
                made.lacks_words = made.lacks_words or number is None
                made.at[used] = number or 0
                used += 1
        return made


cdef TakenLimits look_at(const cg_table *t, LimitSet limits, uint64_t record, uint64_t now):
    cdef TakenLimits taken = TakenLimits.__new__(TakenLimits)
    cdef const cg_limit *limit
    cdef uint64_t wait
    cdef Py_ssize_t at
    taken.refusing = -1
    taken.each = taken.few
    if limits.count > 4:
        taken.each = <cg_limit_taken *>calloc(limits.count, sizeof(cg_limit_taken))
        if taken.each == NULL:
            raise MemoryError
    for at in range(limits.count):
        limit = &limits.each[at]
        if limit.places or limit.is_observed:
            continue
        wait = cg_rate_wait(cg_limit_word(t, limit, record, 0), limit, now)
        if wait > taken.wait:
            taken.wait, taken.refusing = wait, at
    return taken


@cython.no_gc  # its reason has no reference to it
@cython.freelist(64)
cdef class TakenLimits:
    def __dealloc__(self):
        if self.each != self.few:
            free(self.each)

    cdef bint take_rates(self, const cg_table *t, LimitSet limits, uint64_t record, uint64_t now):
        """Take a call of each rate; return False if one of them has none by now."""
        cdef const cg_limit *limit
        cdef uint64_t wait
        cdef Py_ssize_t at
        for at in range(limits.count):
            limit = &limits.each[at]
            if limit.places:
                continue
            wait = cg_rate_take(
                cg_limit_word(t, limit, record, 0), limit, now, &self.each[self.count])
            if wait == 0:
                self.count += 1
            elif limit.is_observed:
                self.observed_reason = self.observed_reason or RATE_LIMITED
            else:
                self.refusing, self.wait = at, wait
                return False
        return True

    cdef bint take_places(self, const cg_table *t, LimitSet limits, uint64_t record, uint64_t slot,
                          uint64_t state):
        """Take a place of each limit on calls under way; return False if one of them has none.

        `slot` is the number of the call's slot, which is claimed, and `state` its state.
        """
        cdef const cg_limit *limit
        cdef cg_limit_taken *one
        cdef Py_ssize_t at
        for at in range(limits.count):
            limit = &limits.each[at]
            if not limit.places:
                continue
            one = &self.each[self.count]
            one.value = cg_place_of(slot, state)
            one.interval = 0
            one.word = cg_take_place(t, limit, record, one.value, slot)
            if one.word != NULL:
                self.count += 1
            elif limit.is_observed:
                self.observed_reason = self.observed_reason or TOO_MANY_CALLS
            else:
                self.refusing, self.wait = at, 0
                return False
        return True

    cdef int leave(self) except -1:
        """Give back the places, because the call has ended."""
        cdef Py_ssize_t at
        for at in range(self.count):
            if self.each[at].interval == 0:
                cg_undo_taken(&self.each[at], 0)
        return 0

    cdef int undo(self, uint64_t now) except -1:
        """Give back all, because there is no such call; `now` is CLOCK_BOOTTIME in nanoseconds."""
        cdef Py_ssize_t at
        for at in range(self.count):
            cg_undo_taken(&self.each[at], now)
        self.count = 0
        return 0
