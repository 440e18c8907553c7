"""The C interface of the agent's transactions (`table_owner.h`)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from crewgate._native.table cimport cg_branch, cg_index, cg_revocation, cg_table, cg_word


cdef extern from "reclaim.h" nogil:
    const uint64_t CG_PARENTS
    ctypedef struct cg_lease_report:
        uint64_t sequence, granted, given_back, settled
    void cg_increment(cg_word *word)
    void cg_open(cg_table *t, uint64_t number, const uint64_t *key, const uint64_t *path,
                 const uint32_t *parents, uint64_t count, const cg_lease_report *told)
    void cg_opened(cg_branch *branch)
    void cg_amend(cg_branch *branch, uint64_t quota, uint64_t iat, uint64_t expires,
                  uint64_t held_from, uint64_t held_for)
    void cg_write_revocation(cg_revocation *entry, const uint64_t *key, uint64_t before,
                             uint64_t expires, uint64_t held_from, uint64_t held_for,
                             uint64_t crew)
    bint cg_repair(cg_table *t, uint64_t *lost)

    ctypedef struct cg_private:
        uint32_t *free_branches
        uint32_t *free_revocations
        uint32_t *children
        uint64_t branches_free
        uint64_t revocations_free

    bint cg_count(const cg_table *t, cg_private *mine)
    void cg_count_below(cg_table *t, cg_private *mine, uint64_t number, int more)
    void cg_private_free(cg_private *mine)
    int64_t cg_enter(cg_table *t, const cg_index *x, uint32_t *stack, uint64_t *left)
    uint64_t cg_forget_revocations(cg_table *t, cg_private *mine, uint64_t now_wall,
                                   uint64_t now_boot_ns, uint64_t most, uint64_t *crews)
    int64_t cg_next_expired(cg_table *t, cg_private *mine, const uint64_t *reserved,
                            uint64_t now_wall, uint64_t now_boot_ns, uint64_t *most)
    bint cg_forget_branch(cg_table *t, const cg_index *x, cg_private *mine, uint64_t number)


cdef extern from "table_owner.h" nogil:
    uint64_t cg_begin_draw(cg_branch *branch, uint64_t need)
    void cg_lend(cg_table *t, cg_branch *branch, uint64_t amount)
    void cg_refuse(cg_table *t, cg_branch *branch, uint64_t level, uint64_t need, uint64_t used,
                   uint64_t quota, uint64_t window)
    void cg_grant(cg_table *t, cg_branch *branch, uint64_t amount)
    uint64_t cg_take_back(cg_table *t, cg_branch *branch, uint64_t most)
