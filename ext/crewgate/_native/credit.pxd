"""The C interface of spending a lease (`credit.h`)."""

from libc.stdint cimport int64_t, uint64_t

from crewgate._native.table cimport cg_branch, cg_index, cg_slot, cg_table


cdef extern from "credit.h" nogil:
    ctypedef struct cg_hold:
        cg_slot *slot
        uint64_t state
        uint64_t branch
        uint64_t generation
        uint64_t amount

    const int CG_TAKEN, CG_SHORT, CG_GONE, CG_LOST

    int cg_spend(cg_branch *branch, uint64_t generation, uint64_t amount, uint64_t *left)
    void cg_unspend(cg_table *t, cg_branch *branch, uint64_t generation, uint64_t amount)
    int cg_claim_slot(cg_hold *hold, uint64_t owner, uint64_t deadline, const cg_slot *attribution)
    int cg_fund_slot(cg_table *t, cg_hold *hold, uint64_t *left)
    int cg_hold_grow(cg_table *t, cg_hold *hold, uint64_t more, uint64_t *left)
    bint cg_hold_settle(cg_table *t, cg_hold *hold, uint64_t cost)
    bint cg_slot_end(cg_slot *slot, uint64_t state)
    int64_t cg_block_take(cg_table *t, uint64_t owner)


cdef extern from "index.h" nogil:
    bint cg_holds(const cg_index *x, uint64_t number, uint64_t low, uint64_t high)
