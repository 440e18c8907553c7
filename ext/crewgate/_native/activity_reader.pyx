"""Reads what rules have counted of branches lately, for people who watch; `branch_activity.h`."""

from crewgate._native.records import CountedActivity

from libc.stdint cimport uint64_t

from crewgate._native.table cimport (
    CG_GENERATION, CG_LIVE, CG_STATE, Table, cg_get, cg_table, cg_word,
)

cdef extern from "branch_activity.h" nogil:
    ctypedef struct cg_activity:
        cg_word noted[3]
        cg_word calls

    const cg_activity *cg_known_activity(const cg_table *t, uint64_t record, uint64_t generation)
    uint64_t cg_in_minute(const cg_word *word, uint64_t ms)


def read_activities(Table table not None, uint64_t now_boot_ns):
    """See the stub."""
    cdef uint64_t number, life, ms = now_boot_ns // 1_000_000
    cdef const cg_activity *activity
    cdef uint64_t calls, warned, refused, ended
    cdef dict found = {}
    cdef object quiet = CountedActivity(0, (0, 0, 0))  # most branches share it
    table.check_open()
    for number in range(table.t.branches):
        life = cg_get(&table.t.branch[number].life)
        if CG_STATE(life) != <uint64_t>CG_LIVE:
            continue
        activity = cg_known_activity(&table.t, number, CG_GENERATION(life))
        if activity == NULL:
            continue
        calls = cg_in_minute(&activity.calls, ms)
        warned, refused = cg_get(&activity.noted[0]), cg_get(&activity.noted[1])
        ended = cg_get(&activity.noted[2])
        found[number] = (CountedActivity(calls, (warned, refused, ended))
                         if calls or warned or refused or ended else quiet)
    return found
