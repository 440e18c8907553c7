"""The C interface of the rules on branches."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from crewgate._native.table cimport Table, cg_table, cg_word


cdef extern from "call_digest.h" nogil:
    ctypedef struct json_text:
        const unsigned char *at
        const unsigned char *end

    ctypedef struct cg_digester:
        const uint64_t *key
        json_text left_out[16]
        unsigned left_out_count

    ctypedef struct cg_answered:
        uint64_t call, answer, started_ms, ended_ms, retry_seconds, cost
        int is_failed, is_busy

    const uint64_t CG_CALL_UNKNOWN, CG_CALL_EXEMPT
    uint64_t cg_digest_call(const cg_digester *, const unsigned char *method, size_t method_size,
                            const unsigned char *path, size_t path_size,
                            const unsigned char *query, size_t query_size,
                            const unsigned char *body, size_t body_size)
    uint64_t cg_digest_body(const cg_digester *, const unsigned char *body, size_t size)
    uint64_t cg_digest_bytes(const cg_digester *, uint64_t kind, const unsigned char *, size_t)
    uint64_t cg_known(uint64_t digest)


cdef class CompiledRule:
    cdef readonly object rule               # a core.rules.rule.Rule
    cdef unsigned kind, bit
    cdef uint64_t limits[3]                 # of the steps; UINT64_MAX: none
    cdef uint64_t least                     # of the limits
    cdef bint is_enforced
    cdef bytes tools                        # whether it watches a tool, by its number

    cdef bint watches(self, Py_ssize_t tool, str name) except -1
    cdef int step_at(self, uint64_t count, int most) noexcept


cdef class CompiledRules:
    cdef readonly tuple rules
    cdef uint64_t pause_ms
    cdef uint64_t equal_rules               # bits of the rules on equal calls
    cdef uint64_t refusal_rules             # bits of the rules on refused calls
    cdef dict by_role                       # (crew, role) → tuple of CompiledRule

    cdef tuple watching(self, str crew, str role)


# Whether the gate refuses a call for a finding: its rule acts, and does not only warn.
cdef bint is_refusal(object finding) except -1
# Return a finding as one of a rule that observes.
cdef object as_observed(object finding)
# Return what is recorded and done of the noted steps.
cdef list to_tell(list noted, bint observe)

# Return the strongest step that the rules take for a call now, as a StepFinding; None if they take
# none. `noted` gets each step that is recorded now, and each enforced end.
cdef object judged(const cg_table *t, CompiledRules rules, tuple watching, uint64_t record,
                   uint64_t generation, Py_ssize_t tool, str name, uint64_t call, uint64_t boot,
                   list noted)
cdef int note_answer(const cg_table *t, CompiledRules rules, uint64_t record, uint64_t generation,
                     const cg_answered *found) except -1
cdef int note_rule_refusal(const cg_table *t, uint64_t record, uint64_t generation, uint64_t call,
                           uint64_t boot, uint64_t last) except -1
cdef object note_refusal(const cg_table *t, CompiledRules rules, tuple watching, uint64_t record,
                         uint64_t generation, Py_ssize_t tool, uint64_t boot, list noted)
