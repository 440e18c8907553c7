/* The layout of the shared table: one mmap file per machine, the same bytes in every process.
 *
 * Only the agent inserts, moves and reclaims records; the other processes change single words of
 * existing ones. There is no lock: a process that is killed or stopped between any two stores
 * blocks no other, and the agent repairs what it left (table_owner.h).
 *
 * Every store to shared memory that another process may depend on goes through PUT, TAKE or CAS,
 * so that the fault-injection build can end the process between any two of them.
 */
#ifndef CREWGATE_LAYOUT_H
#define CREWGATE_LAYOUT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fault_injection.h"

#define CG_VERSION 6u
#define CG_MAGIC 0x3145544147574552ull /* "REWGATE1" */
#define CG_SHARDS 64u
#define CG_PARENTS 9u      /* the crew and eight ancestors */
#define CG_BLOCK_SLOTS 64u /* reservation slots are handed to attachments in blocks */
#define CG_REDO 24u
#define CG_PROOF_SETS 2u     /* proof_table.h */
#define CG_PROOF_WINDOWS 8u  /* of a set */
#define CG_PROOF_SECONDS 16u /* of a window */
#define CG_PROOF_SHARES 256u
#define CG_GRANT_MARKS 4u /* for each branch, a power of two; grant_marks.h */
#define CG_SERIES 6u      /* different calls of a branch that are remembered; branch_activity.h */
#define CG_TURNS 3u       /* different calls in turn that count as an alternation, at most */
#define CG_RULE_STEPS 3u  /* warn, refuse, end */
#define CG_LIMIT_CELLS 16384u /* call_limits.h */
#define CG_CELL_WORDS 8u
#define CG_BRANCH_LIMIT_WORDS 12u /* of each branch */

typedef _Atomic uint64_t cg_word;

static inline uint64_t cg_get(const cg_word *word) {
  return atomic_load_explicit((cg_word *)word, memory_order_acquire);
}
static inline void cg_put(cg_word *word, uint64_t value) {
  cg_fault();
  atomic_store_explicit(word, value, memory_order_release);
}
static inline int cg_cas(cg_word *word, uint64_t *expected, uint64_t value) {
  cg_fault();
  return atomic_compare_exchange_strong_explicit(word, expected, value, memory_order_acq_rel,
                                                 memory_order_acquire);
}
static inline void cg_increment(cg_word *word) {
  cg_fault();
  atomic_fetch_add_explicit(word, 1, memory_order_acq_rel);
}

static inline void cg_clear_bits(cg_word *word, uint64_t bits) {
  cg_fault();
  atomic_fetch_and_explicit(word, ~bits, memory_order_acq_rel);
}
/* Sets a bit; says whether it was not set before. */
static inline int cg_set_bit(cg_word *word, unsigned bit) {
  cg_fault();
  return !(atomic_fetch_or_explicit(word, 1ull << bit, memory_order_acq_rel) >> bit & 1);
}

/* A record's life: generation << 3 | state. The generation grows each time it is reclaimed. */
enum { CG_FREE = 0, CG_BUSY = 1, CG_LIVE = 2, CG_DYING = 3 };
#define CG_STATE(life) ((life) & 7u)
#define CG_GENERATION(life) ((life) >> 3)

/* The available-credit word: generation (22 bits) | taking | pending | amount (40 bits). If a
 * record is reclaimed, every compare-and-swap that began before fails. `pending` is set from
 * begin_draw until the grant is applied. `taking` is set while the agent returns credit to the
 * ledger; clearing it commits that transaction. */
#define CG_AMOUNT_MAX ((1ull << 40) - 1)
#define CG_PENDING (1ull << 40)
#define CG_TAKING (1ull << 41)
#define CG_AMOUNT(available) ((available) & CG_AMOUNT_MAX)
#define CG_TAG_AVAILABLE(generation) ((uint64_t)(generation) << 42)
#define CG_SAME_AVAILABLE(available, generation) \
  (((available) >> 42) == ((uint64_t)(generation) & ((1ull << 22) - 1)))

/* The settled word: generation (11 bits) | amount (53 bits). */
#define CG_SETTLED_MAX ((1ull << 53) - 1)
#define CG_SETTLED(settled) ((settled) & CG_SETTLED_MAX)
#define CG_TAG_SETTLED(generation) ((uint64_t)(generation) << 53)
#define CG_SAME_SETTLED(settled, generation) \
  (((settled) >> 53) == ((uint64_t)(generation) & ((1ull << 11) - 1)))

/* A branch, or a crew (the topmost ancestor of its branches). 256 bytes. */
typedef struct {
  alignas(64) cg_word life;
  cg_word key[2];
  cg_word available;
  cg_word settled;
  cg_word path[2]; /* digest of the ancestors' keys */
  cg_word closed;
  /* Why the last draw was refused; valid until credit_generation changes. */
  cg_word refused_need, refused_level, refused_used, refused_quota, refused_generation;
  cg_word quota, quota_iat, expires;
  /* Only the agent reads and writes what follows. */
  cg_word granted, given_back, retired, sequence, pending_need;
  cg_word held_from, held_for; /* CLOCK_BOOTTIME ns; ns of life seen from there */
  cg_word parent_count;
  uint32_t parents[CG_PARENTS + 1]; /* record numbers: crew, root … parent */
  cg_word beyond; /* what the ledger could still grant, as of its last response */
  /* The crew's hour or day that caused the refusal (core/budget/ledger_protocol.py), or 0. */
  cg_word refused_window;
  cg_word below; /* branches below it, at any level, that have a record */
} cg_branch;
_Static_assert(sizeof(cg_branch) == 256, "four cache lines");

/* A revocation of anything with a key: tokens issued up to `before` are revoked. 64 bytes. */
typedef struct {
  alignas(64) cg_word life;
  cg_word key[2];
  cg_word before;
  cg_word expires;
  cg_word held_from, held_for;
  cg_word crew; /* first half of the key of the crew whose share this entry uses */
} cg_revocation;

/* A reservation. state: owner (16 bits) | generation (45 bits) | state (3 bits); the generation
 * grows at every end, the owner is an attachment number. 128 bytes. */
enum {
  CG_SLOT_FREE = 0,
  CG_SLOT_CLAIMED = 1,  /* the other words are being written */
  CG_SLOT_INTENT = 2,   /* the credit is about to be taken */
  CG_SLOT_HELD = 3,     /* it has been taken */
  CG_SLOT_SETTLING = 4  /* `cost` is being charged, the rest given back */
};
/* Beside a tool's number: `amount` is an upper bound, of which some will come back. */
#define CG_LOOSE (1ull << 63)
#define CG_SLOT(state) ((state) & 7u)
#define CG_OWNER(state) ((state) >> 48)
#define CG_SLOT_NEXT(state, owner) \
  ((uint64_t)(owner) << 48 | ((((state) >> 3) + 1) & ((1ull << 45) - 1)) << 3)
typedef struct {
  alignas(64) cg_word state;
  cg_word branch; /* record number */
  cg_word branch_generation;
  cg_word amount;
  cg_word deadline; /* CLOCK_BOOTTIME ns */
  cg_word started;  /* wall clock ns */
  cg_word tool;     /* its number, and CG_LOOSE */
  cg_word cost; /* while settling: what is charged */
  cg_word grant[2];
  cg_word request[2];
} cg_slot;

/* A window of time whose proofs are remembered. */
typedef struct {
  alignas(64) cg_word number; /* its time / CG_PROOF_SECONDS + 1; marked until it is open; 0 at first */
  cg_word count;
  cg_word share[CG_PROOF_SHARES]; /* the part of `count` by crew; some crews have one together */
} cg_proof_window;

/* Equal calls of a branch; branch_activity.h. */
typedef struct {
  cg_word call;
  cg_word counts;
  cg_word answer;
  cg_word ended;
} cg_series;

/* What a branch and all below it have done lately. 256 bytes. */
typedef struct {
  alignas(64) cg_word progress; /* calls that were none of the remembered ones */
  cg_word noted[CG_RULE_STEPS]; /* a bit for each rule whose step was recorded */
  cg_word refused;              /* calls in a row that were refused for their tool or arguments */
  cg_word calls, spent;         /* of a minute */
  cg_word began;                /* generation of the branch, and when it first called */
  cg_series series[CG_SERIES];
} cg_activity;
_Static_assert(sizeof(cg_activity) == 256, "its size is in the documents");

/* The redo log of the agent's current transaction: absolute stores to words that only it writes.
 * `guard` is the available-credit word whose flag shows whether the transaction has committed. */
typedef struct {
  cg_word armed; /* number of stores, 0 = idle */
  cg_word guard; /* offset of an available-credit word, 0 = none */
  cg_word guard_flag;
  cg_word offset[CG_REDO];
  cg_word value[CG_REDO];
} cg_redo;

typedef struct {
  uint64_t magic, version, bytes;
  uint64_t branches, revocations, reservations, attachments, proofs;
  uint8_t boot[16]; /* kernel boot id */
  uint8_t identity[16]; /* the table's life: `boot` of the ledger protocol */
  uint64_t seed[2]; /* of the indexes' hash: an attacker cannot aim at one shard */
  uint64_t proof_key[2]; /* of the hash of proofs, and of nonces */
  uint64_t checksum; /* of all above */
  /* Until these times (CLOCK_BOOTTIME ns), the agent vouches for the table, and the table has every
   * revocation that a majority of members knows. */
  alignas(64) cg_word fresh_until;
  cg_word synced_until;
  cg_word retired;
  cg_word revocation_generation, policy_generation;
  cg_word lent; /* the ledger does not know at most this much of what was granted */
  cg_word ledger_count; /* the ledger's count of what this machine has reported to it */
  cg_word proofs_offset; /* wall clock less CLOCK_BOOTTIME, seconds, when proofs were last opened */
  cg_word proofs_from; /* the table may not know older proofs: wall clock, seconds */
  alignas(64) cg_word credit_generation; /* grows when credit comes back to a lease or level */
  alignas(64) cg_word branch_moves[CG_SHARDS];
  cg_word revocation_moves[CG_SHARDS];
  cg_redo redo;
} cg_header;
_Static_assert(offsetof(cg_header, fresh_until) / 64 == offsetof(cg_header, synced_until) / 64,
               "a verdict reads both: one cache line");

/* The view of one process: pointers into its mapping, and a private copy of the capacities. A
 * process that may write to the table must not be able to make others read beyond its end. */
typedef struct {
  uint64_t bytes, branches, revocations, reservations, attachments, proofs;
  cg_header *header;
  cg_word *branch_index, *revocation_index; /* twice the records, a power of two each */
  cg_word *attachment;                      /* nonce of the holder, 0 = free */
  cg_word *block_owner;                     /* attachment + 1 of a block of slots, 0 = free */
  cg_branch *branch;
  cg_revocation *revocation;
  cg_slot *slot;
  cg_proof_window *proof_window;
  cg_word *proof; /* 0 = free */
  cg_word *grant_mark;
  cg_activity *activity; /* by branch */
  cg_word *limit_key;    /* which limit has a cell, and then a word of each branch; 0 = none */
  cg_word *limit_cell;   /* CG_CELL_WORDS each */
  cg_word *branch_limit; /* CG_BRANCH_LIMIT_WORDS of each branch */
} cg_table;

/* A process must read these two before it looks for revocations. A promise that it reads afterwards
 * may depend on revocations that were entered in between. */
static inline int cg_is_fresh(const cg_header *header, uint64_t boot_ns) {
  return boot_ns < cg_get(&header->fresh_until);
}
static inline int cg_is_synced(const cg_header *header, uint64_t boot_ns) {
  return boot_ns < cg_get(&header->synced_until);
}

static inline uint64_t cg_align(uint64_t bytes) { return (bytes + 4095u) & ~4095ull; }

/* Lays the regions out after the header; with a null base it only computes the size. */
static inline uint64_t cg_map(cg_table *t, uint8_t *base, uint64_t branches, uint64_t revocations,
                              uint64_t reservations, uint64_t attachments, uint64_t proofs) {
  uint64_t at = cg_align(sizeof(cg_header));
  t->header = (cg_header *)base;
  t->branches = branches;
  t->revocations = revocations;
  t->reservations = reservations;
  t->attachments = attachments;
  t->proofs = proofs;
#define CG_REGION(field, type, count)          \
  t->field = (type *)(base ? base + at : NULL); \
  at += cg_align((count) * sizeof(type))
  CG_REGION(branch_index, cg_word, 2 * branches);
  CG_REGION(revocation_index, cg_word, 2 * revocations);
  CG_REGION(attachment, cg_word, attachments);
  CG_REGION(block_owner, cg_word, reservations / CG_BLOCK_SLOTS);
  CG_REGION(branch, cg_branch, branches);
  CG_REGION(revocation, cg_revocation, revocations);
  CG_REGION(slot, cg_slot, reservations);
  CG_REGION(proof_window, cg_proof_window, CG_PROOF_SETS * CG_PROOF_WINDOWS);
  CG_REGION(proof, cg_word, proofs);
  CG_REGION(grant_mark, cg_word, CG_GRANT_MARKS * branches);
  CG_REGION(activity, cg_activity, branches);
  CG_REGION(limit_key, cg_word, CG_LIMIT_CELLS + CG_BRANCH_LIMIT_WORDS);
  CG_REGION(limit_cell, cg_word, CG_LIMIT_CELLS *CG_CELL_WORDS);
  CG_REGION(branch_limit, cg_word, CG_BRANCH_LIMIT_WORDS * branches);
#undef CG_REGION
  t->bytes = at;
  return at;
}

/* Record number of ancestor `i`, always within the table, since capacities are powers of two. */
static inline uint64_t cg_parent(const cg_table *t, const cg_branch *branch, uint64_t i) {
  return branch->parents[i] & (t->branches - 1);
}

static inline uint64_t cg_checksum(const cg_header *header) {
  const uint8_t *bytes = (const uint8_t *)header;
  uint64_t sum = 0xcbf29ce484222325ull; /* FNV-1a: against accident, not malice */
  for (size_t i = 0; i < offsetof(cg_header, checksum); i++) sum = (sum ^ bytes[i]) * 0x100000001b3ull;
  return sum;
}

static inline int cg_is_power(uint64_t n, uint64_t low, uint64_t high) {
  return n >= low && n <= high && (n & (n - 1)) == 0;
}

/* 0 if the header describes a table of ours that fits `bytes`; else which check failed. */
enum { CG_OK = 0, CG_TORN = 1, CG_FOREIGN = 2, CG_OTHER_VERSION = 3, CG_TOO_SMALL = 4 };
static inline int cg_validate(const cg_header *h, uint64_t bytes) {
  cg_table scratch;
  if (bytes < sizeof(cg_header)) return CG_TOO_SMALL;
  if (h->magic != CG_MAGIC) return CG_FOREIGN;
  if (h->version != CG_VERSION) return CG_OTHER_VERSION;
  if (h->checksum != cg_checksum(h)) return CG_TORN;
  if (!cg_is_power(h->branches, CG_SHARDS, 1u << 24) ||
      !cg_is_power(h->revocations, CG_SHARDS, 1u << 24) ||
      !cg_is_power(h->reservations, CG_BLOCK_SLOTS, 1u << 24) ||
      !cg_is_power(h->attachments, 2, 1u << 15) ||
      !cg_is_power(h->proofs, 1u << 10, 1u << 24))
    return CG_TORN;
  if (cg_map(&scratch, NULL, h->branches, h->revocations, h->reservations, h->attachments,
             h->proofs) != h->bytes)
    return CG_TORN;
  return bytes < h->bytes ? CG_TOO_SMALL : CG_OK;
}

#endif
