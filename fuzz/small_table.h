/* A table of the smallest capacities in memory, and an agent's own memory of it. */
#ifndef CREWGATE_FUZZ_SMALL_TABLE_H
#define CREWGATE_FUZZ_SMALL_TABLE_H

#include "bytes.h"
#include "reclaim.h"
#include "lease_snapshot.h"

enum { BRANCHES = 64, REVOCATIONS = 64, SLOTS = 128, ATTACHMENTS = 2, PROOFS = 1024 };
static const uint64_t EVER = UINT64_MAX;

typedef struct {
  cg_table t;
  cg_private mine;
} small_table;

static inline void small_begin(small_table *s) {
  static void *memory;
  cg_header header = {.magic = CG_MAGIC, .version = CG_VERSION, .branches = BRANCHES,
                      .revocations = REVOCATIONS, .reservations = SLOTS,
                      .attachments = ATTACHMENTS, .proofs = PROOFS, .seed = {1, 2}};
  header.bytes = cg_map(&s->t, NULL, BRANCHES, REVOCATIONS, SLOTS, ATTACHMENTS, PROOFS);
  header.checksum = cg_checksum(&header);
  REQUIRE(cg_validate(&header, header.bytes) == CG_OK);
  if (!memory) memory = aligned_alloc(4096, header.bytes);
  memset(memory, 0, header.bytes);
  memcpy(memory, &header, offsetof(cg_header, fresh_until));
  cg_map(&s->t, memory, BRANCHES, REVOCATIONS, SLOTS, ATTACHMENTS, PROOFS);
  REQUIRE(cg_count(&s->t, &s->mine));
}

/* A live branch under the records `above`; its number, or CG_NONE where there is no room. */
static inline int64_t small_open(small_table *s, uint64_t key, const uint32_t *above,
                                 uint64_t parents, uint64_t expires) {
  const uint64_t keys[2] = {key, key}, path[2] = {0, 0};
  cg_index x = cg_branches(&s->t);
  if (!s->mine.branches_free || cg_lookup(&s->t, &x, key, key) >= 0) return CG_NONE;
  uint64_t number = s->mine.free_branches[s->mine.branches_free - 1];
  cg_open(&s->t, number, keys, path, above, parents, &(cg_lease_report){0});
  cg_amend(&s->t.branch[number], EVER, 1, expires, 0, expires == EVER ? EVER : 1);
  cg_opened(&s->t.branch[number]);
  if (cg_enter(&s->t, &x, s->mine.free_branches, &s->mine.branches_free) < 0) return CG_NONE;
  for (uint64_t i = 0; i < parents; i++) s->mine.children[above[i]]++;
  return (int64_t)number;
}

#endif
