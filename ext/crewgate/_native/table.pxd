"""The C interface of the shared table: layout, lookups and the credit words."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "index.h" nogil:
    ctypedef uint64_t cg_word

    ctypedef struct cg_header:
        uint64_t magic
        uint64_t version
        uint64_t bytes
        uint64_t branches
        uint64_t revocations
        uint64_t reservations
        uint64_t attachments
        uint64_t proofs
        uint8_t boot[16]
        uint8_t identity[16]
        uint64_t seed[2]
        uint64_t proof_key[2]
        uint64_t checksum
        cg_word fresh_until
        cg_word synced_until
        cg_word retired
        cg_word revocation_generation
        cg_word policy_generation
        cg_word lent
        cg_word ledger_count
        cg_word proofs_from, proofs_offset
        cg_word credit_generation

    ctypedef struct cg_branch:
        cg_word life
        cg_word key[2]
        cg_word available
        cg_word settled
        cg_word path[2]
        cg_word closed
        cg_word refused_need
        cg_word refused_level
        cg_word refused_used
        cg_word refused_quota
        cg_word refused_generation
        cg_word quota
        cg_word quota_iat
        cg_word expires
        cg_word granted
        cg_word given_back
        cg_word retired
        cg_word sequence
        cg_word pending_need
        cg_word held_from
        cg_word held_for
        cg_word parent_count
        uint32_t parents[10]
        cg_word beyond
        cg_word refused_window
        cg_word below

    ctypedef struct cg_revocation:
        cg_word life
        cg_word key[2]
        cg_word before
        cg_word expires
        cg_word held_from
        cg_word held_for
        cg_word crew

    ctypedef struct cg_slot:
        cg_word state
        cg_word branch
        cg_word branch_generation
        cg_word amount
        cg_word deadline
        cg_word started
        cg_word tool
        cg_word cost
        cg_word grant[2]
        cg_word request[2]

    ctypedef struct cg_table:
        uint64_t bytes
        uint64_t branches
        uint64_t revocations
        uint64_t reservations
        uint64_t attachments
        uint64_t proofs
        cg_header *header
        cg_word *branch_index
        cg_word *revocation_index
        cg_word *attachment
        cg_word *block_owner
        cg_branch *branch
        cg_revocation *revocation
        cg_slot *slot
        cg_word *limit_key

    ctypedef struct cg_index:
        cg_word *words
        cg_word *moves
        uint8_t *record
        uint64_t stride
        uint64_t records

    const uint64_t CG_MAGIC, CG_VERSION, CG_AMOUNT_MAX, CG_PENDING, CG_TAKING, CG_SHARDS
    const uint64_t CG_BLOCK_SLOTS, CG_LOOSE
    const uint64_t CG_LIMIT_CELLS, CG_CELL_WORDS, CG_BRANCH_LIMIT_WORDS
    const int CG_FREE, CG_LIVE, CG_DYING, CG_SLOT_FREE, CG_SLOT_SETTLING
    const int CG_OK, CG_TORN, CG_FOREIGN, CG_OTHER_VERSION, CG_TOO_SMALL, CG_NONE, CG_UNKNOWN

    uint64_t cg_get(const cg_word *word)
    void cg_put(cg_word *word, uint64_t value)
    bint cg_cas(cg_word *word, uint64_t *expected, uint64_t value)
    uint64_t CG_STATE(uint64_t life)
    uint64_t CG_GENERATION(uint64_t life)
    uint64_t CG_AMOUNT(uint64_t available)
    bint CG_SAME_AVAILABLE(uint64_t available, uint64_t generation)
    uint64_t CG_SETTLED(uint64_t settled)
    uint64_t CG_SLOT(uint64_t state)
    uint64_t CG_OWNER(uint64_t state)
    uint64_t cg_map(cg_table *t, uint8_t *base, uint64_t branches, uint64_t revocations,
                    uint64_t reservations, uint64_t attachments, uint64_t proofs)
    bint cg_is_fresh(const cg_header *header, uint64_t boot_ns)
    bint cg_is_synced(const cg_header *header, uint64_t boot_ns)
    uint64_t cg_checksum(const cg_header *header)
    uint64_t cg_parent(const cg_table *t, const cg_branch *branch, uint64_t i)
    int cg_validate(const cg_header *header, uint64_t size)
    cg_index cg_branches(const cg_table *t)
    cg_index cg_revocations(const cg_table *t)
    int64_t cg_lookup(const cg_table *t, const cg_index *x, uint64_t low, uint64_t high)
    bint cg_is_revoked(const cg_table *t, uint64_t low, uint64_t high, uint64_t issued_at)
    bint cg_is_token_revoked(const cg_table *t, const uint64_t *keys, int count,
                             uint64_t issued_at, uint64_t *clear)


cdef extern from "lease_snapshot.h" nogil:
    ctypedef struct cg_seen:
        uint64_t available, settled, reserved, loose, burned

    void cg_sum_slots(const cg_table *t, uint64_t *sums)
    void cg_snapshot(const cg_table *t, uint64_t record, uint64_t known, cg_seen *seen)
    void cg_snapshot_after(const cg_table *t, uint64_t record, const uint64_t *sums, uint64_t known,
                           cg_seen *seen)


cdef class Table:
    cdef cg_table t
    cdef bint mapped
    cdef int descriptor
    cdef dict burned  # by record number: its life, and the burned amount of the last snapshot

    cdef int map_fd(self, int fd) except -1
    cdef int view(self, void *base, const cg_header *header) except -1
    cdef int check_open(self) except -1
    cdef object copy_branch(self, uint64_t number, const uint64_t *sums)
    cdef uint64_t *reserved_by_branch(self) except NULL


cdef int halves(bytes key, uint64_t *out) except -1
cdef bytes joined(const cg_word *words)
cdef int new_header(geometry, cg_header *header) except -1
