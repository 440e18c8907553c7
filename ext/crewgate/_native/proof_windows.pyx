"""Opens the windows in which a machine remembers DPoP proofs (`proof_table.h`), for the agent."""

from crewgate import limits

from libc.stdint cimport int64_t, uint64_t

from crewgate._native.table cimport Table, cg_get, cg_put, cg_table

cdef extern from "proof_table.h" nogil:
    const unsigned CG_PROOF_BY_TIME, CG_PROOF_BY_NONCE
    const uint64_t CG_PROOF_SECONDS
    void cg_open_proofs(const cg_table *t, unsigned set, uint64_t seconds)
    bint cg_proofs_full(const cg_table *t)

cdef uint64_t LEEWAY = limits.leeway_seconds
cdef int64_t STEP_MAX = <int64_t>limits.clock_step_seconds_max
cdef uint64_t PROOF_AGE = limits.proof_age_seconds_max


def open_windows(Table table not None, uint64_t now_wall, uint64_t now_boot):
    cdef uint64_t ahead
    table.check_open()
    # A table that was made while the clock was behind may lack proofs until the time of its end.
    cdef uint64_t known = cg_get(&table.t.header.proofs_offset), offset = now_wall - now_boot
    if cg_get(&table.t.header.proofs_from) == 0 or <int64_t>(offset - known) > STEP_MAX:
        distrust_before(table, now_wall)
    if offset != known:
        cg_put(&table.t.header.proofs_offset, offset)
    for ahead in range(0, PROOF_AGE + LEEWAY + 2 * CG_PROOF_SECONDS, CG_PROOF_SECONDS):
        if now_wall + LEEWAY + CG_PROOF_SECONDS >= ahead:
            cg_open_proofs(&table.t, CG_PROOF_BY_TIME,
                           now_wall + LEEWAY + CG_PROOF_SECONDS - ahead)
        if now_boot + CG_PROOF_SECONDS >= ahead:
            cg_open_proofs(&table.t, CG_PROOF_BY_NONCE, now_boot + CG_PROOF_SECONDS - ahead)


def distrust_before(Table table not None, uint64_t wall):
    table.check_open()
    cg_put(&table.t.header.proofs_from, max(
        cg_get(&table.t.header.proofs_from), wall + LEEWAY + <uint64_t>STEP_MAX + 1))


def are_full(Table table not None):
    table.check_open()
    return cg_proofs_full(&table.t)
