"""C face of the agent's transactions (`owner.h`)."""

from libc.stdint cimport uint32_t, uint64_t

from crewgate._native.table cimport cg_branch, cg_index, cg_revocation, cg_table, cg_word


cdef extern from "owner.h" nogil:
    const uint64_t CG_PARENTS
    uint64_t CG_SLOT_NEXT(uint64_t state, uint64_t owner)
    bint cg_publish(const cg_table *t, const cg_index *x, uint64_t number)
    void cg_bury(const cg_table *t, const cg_index *x, uint64_t number)
    void cg_compact(const cg_table *t, const cg_index *x, uint64_t number)
    uint64_t cg_tombstones(const cg_index *x, uint64_t number)
    uint64_t cg_span(const cg_index *x)
    uint64_t cg_shard(const cg_index *x, uint64_t hash)
    uint64_t cg_hash(const cg_table *t, uint64_t low, uint64_t high)
    void cg_increment(cg_word *word)
    void cg_open(cg_table *t, uint64_t number, const uint64_t *key, const uint64_t *path,
                 const uint32_t *parents, uint64_t count)
    void cg_amend(cg_branch *branch, uint64_t quota, uint64_t iat, uint64_t expires,
                  uint64_t held_from, uint64_t held_for)
    uint64_t cg_begin_draw(cg_branch *branch, uint64_t need)
    void cg_grant(cg_table *t, cg_branch *branch, uint64_t amount, cg_branch *crew,
                  const uint64_t *windows)
    void cg_refuse(cg_table *t, cg_branch *branch, uint64_t level, uint64_t need, uint64_t used,
                   uint64_t quota)
    uint64_t cg_take_back(cg_table *t, cg_branch *branch, uint64_t most)
    void cg_seal(cg_branch *branch)
    void cg_forget(cg_table *t, uint64_t number)
    void cg_write_revocation(cg_revocation *entry, const uint64_t *key, uint64_t before,
                             uint64_t expires, uint64_t held_from, uint64_t held_for,
                             uint64_t crew)
    uint64_t cg_repair(cg_table *t)
