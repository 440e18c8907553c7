"""Gives words of the table to limits on calls, and says which limit has which (`call_limits.h`)."""

from crewgate import limits
from crewgate.errors import TableFullError

from libc.stdint cimport uint64_t

from crewgate._native.table cimport (
    CG_BRANCH_LIMIT_WORDS, CG_LIMIT_CELLS, Table, cg_get, cg_put, cg_table,
)

cdef extern from "call_limits.h" nogil:
    void cg_mend_buckets(const cg_table *t, uint64_t now, uint64_t most)
    void cg_give_limit_word(const cg_table *t, uint64_t at, uint64_t key, uint64_t now)

cdef uint64_t REFILL_MAX = 2 * 1_000_000_000 * <uint64_t>limits.call_limit_refill_seconds_max
cdef uint64_t NONE = <uint64_t>-1      # a generation that no policy has


def words_by_key(Table table not None):
    """See the stub."""
    cdef uint64_t at, key
    cdef dict found = {}
    table.check_open()
    for at in range(CG_LIMIT_CELLS + CG_BRANCH_LIMIT_WORDS):
        key = cg_get(&table.t.limit_key[at])
        if key != 0:
            found[key] = at if at < CG_LIMIT_CELLS else at - CG_LIMIT_CELLS
    return found


def give_words(Table table not None, cells, words, uint64_t now_boot_ns):
    """See the stub."""
    cdef frozenset of_scopes = frozenset(cells)
    cdef frozenset of_branches = frozenset(words)
    table.check_open()
    if of_scopes or of_branches:  # else no process reads a bucket
        with nogil:
            cg_mend_buckets(&table.t, now_boot_ns, REFILL_MAX)
    give(table, of_scopes, 0, CG_LIMIT_CELLS, now_boot_ns)
    give(table, of_branches, CG_LIMIT_CELLS, CG_LIMIT_CELLS + CG_BRANCH_LIMIT_WORDS, now_boot_ns)


cdef int give(Table table, frozenset keys, uint64_t first, uint64_t after,
              uint64_t now) except -1:
    """Give each key one of the words from `first` to `after`, unless it has one."""
    cdef cg_table *t = &table.t
    cdef uint64_t at, key
    cdef set missing = set(keys)
    cdef list unused = [], others = []
    for at in range(first, after):
        key = cg_get(&t.limit_key[at])
        if key in missing:
            missing.remove(key)
        elif key == 0:
            unused.append(at)
        else:
            others.append(at)
    if len(missing) > len(unused) + len(others):
        raise TableFullError(f"the limits on calls need {len(keys)} of the {after - first} words "
                             "that the table has for them: limit fewer tools, crews or roles")
    if len(missing) > len(unused):
        # A gate with the last policy must not count in a word that another limit gets.
        cg_put(&t.header.policy_generation, NONE)
    for key, at in zip(sorted(missing), unused + others):
        cg_give_limit_word(t, at, key, now)
    return 0
