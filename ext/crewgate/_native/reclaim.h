/* The agent's private memory about a table, and the reclaiming of expired records.
 *
 * The agent counts free records and children from the records themselves when it starts. It
 * reclaims expired records some at a time, and blocks no other process.
 */
#ifndef CREWGATE_FORGET_H
#define CREWGATE_FORGET_H

#include "table_owner.h"

#define CG_NS 1000000000ull

typedef struct {
  uint32_t *free_branches, *free_revocations; /* stacks of record numbers */
  uint32_t *children;                         /* live branches at any level below, by record */
  uint64_t branches_free, revocations_free;
  uint64_t next_branch, next_revocation; /* where the next pass begins */
} cg_private;

static inline void cg_private_free(cg_private *mine) {
  free(mine->free_branches);
  free(mine->free_revocations);
  free(mine->children);
  memset(mine, 0, sizeof *mine);
}

/* Returns 0 if there is no memory. The lowest numbers are used first. */
static inline int cg_count(const cg_table *t, cg_private *mine) {
  uint64_t branches = t->branches, revocations = t->revocations;
  memset(mine, 0, sizeof *mine);
  mine->free_branches = calloc(branches, sizeof(uint32_t));
  mine->free_revocations = calloc(revocations, sizeof(uint32_t));
  mine->children = calloc(branches, sizeof(uint32_t));
  if (!mine->free_branches || !mine->free_revocations || !mine->children) return 0;
  for (uint64_t at = branches; at-- > 0;) {
    const cg_branch *branch = &t->branch[at];
    if (CG_STATE(cg_get(&branch->life)) == CG_FREE) {
      mine->free_branches[mine->branches_free++] = (uint32_t)at;
      continue;
    }
    for (uint64_t i = 0; i < cg_get(&branch->parent_count) && i < CG_PARENTS; i++)
      mine->children[cg_parent(t, branch, i)]++;
  }
  for (uint64_t at = 0; at < branches; at++)
    if (mine->children[at] != cg_get(&t->branch[at].below))
      cg_put(&t->branch[at].below, mine->children[at]);
  for (uint64_t at = revocations; at-- > 0;)
    if (CG_STATE(cg_get(&t->revocation[at].life)) != CG_LIVE)
      mine->free_revocations[mine->revocations_free++] = (uint32_t)at;
  return 1;
}

/* Counts a branch at each one above it; `more` is 1 or -1. */
static inline void cg_count_below(cg_table *t, cg_private *mine, uint64_t number, int more) {
  const cg_branch *branch = &t->branch[number];
  for (uint64_t i = 0; i < cg_get(&branch->parent_count) && i < CG_PARENTS; i++) {
    uint64_t parent = cg_parent(t, branch, i);
    mine->children[parent] += more;
    cg_put(&t->branch[parent].below, mine->children[parent]);
  }
}

/* A number from the stack for a record that has become live; CG_NONE if its shard is full: the
 * record is free again. */
static inline int64_t cg_enter(cg_table *t, const cg_index *x, uint32_t *stack, uint64_t *left) {
  uint64_t number = stack[*left - 1];
  if (!cg_publish(t, x, number)) {
    cg_put(cg_life(x, number), cg_get(cg_life(x, number)) & ~7ull);
    return CG_NONE;
  }
  *left -= 1;
  return (int64_t)number;
}

/* Puts a number back on the stack, which has room for every record once. */
static inline void cg_release(uint32_t *stack, uint64_t *left, uint64_t records, uint64_t number) {
  if (*left < records) stack[(*left)++] = (uint32_t)number;
}

/* Reclaiming needs two clocks: the wall clock may jump, CLOCK_BOOTTIME does not. */
static inline int cg_is_over(uint64_t expires, uint64_t held_from, uint64_t held_for,
                             uint64_t now_wall, uint64_t now_boot_ns) {
  return now_wall > expires && now_boot_ns > held_from && now_boot_ns - held_from >= held_for;
}

/* Compacts the shard of a buried key once a quarter of it is tombstones. */
static inline void cg_tidy(const cg_table *t, const cg_index *x, uint64_t low, uint64_t high) {
  uint64_t shard = cg_shard(x, cg_hash(t, low, high));
  if (cg_tombstones(x, shard) * 4 >= cg_span(x)) cg_compact(t, x, shard);
}

/* Looks at the next `most` revocations. Writes the crews (first half of their keys) of the
 * reclaimed ones to `crews`, and returns how many they are. */
static inline uint64_t cg_forget_revocations(cg_table *t, cg_private *mine, uint64_t now_wall,
                                             uint64_t now_boot_ns, uint64_t most,
                                             uint64_t *crews) {
  cg_index x = cg_revocations(t);
  uint64_t gone = 0;
  for (uint64_t looked = 0; looked < most && looked < x.records; looked++) {
    uint64_t number = mine->next_revocation;
    mine->next_revocation = (number + 1) % x.records;
    cg_revocation *entry = &t->revocation[number];
    uint64_t life = cg_get(&entry->life);
    if (CG_STATE(life) != CG_LIVE ||
        !cg_is_over(cg_get(&entry->expires), cg_get(&entry->held_from), cg_get(&entry->held_for),
                    now_wall, now_boot_ns))
      continue;
    cg_bury(t, &x, number);
    cg_put(&entry->life, life & ~7ull);
    cg_release(mine->free_revocations, &mine->revocations_free, x.records, number);
    crews[gone++] = cg_get(&entry->crew);
    cg_tidy(t, &x, cg_get(&entry->key[0]), cg_get(&entry->key[1]));
  }
  return gone;
}

static inline int cg_has_slot(const cg_table *t, uint64_t number) {
  for (uint64_t at = 0; at < t->reservations; at++)
    if (CG_SLOT(cg_get(&t->slot[at].state)) != CG_SLOT_FREE &&
        cg_get(&t->slot[at].branch) == number)
      return 1;
  return 0;
}

/* Seals the branch first: then earlier claims are visible, and no claim can follow. Returns 0 if a
 * reservation still refers to the branch, which a later pass looks at again. */
static inline int cg_forget_branch(cg_table *t, const cg_index *x, cg_private *mine,
                                   uint64_t number) {
  cg_branch *branch = &t->branch[number];
  cg_seal(branch);
  if (cg_has_slot(t, number)) return 0;
  cg_bury(t, x, number);
  cg_forget(t, number);
  cg_release(mine->free_branches, &mine->branches_free, x->records, number);
  cg_count_below(t, mine, number, -1);
  cg_tidy(t, x, cg_get(&branch->key[0]), cg_get(&branch->key[1]));
  return 1;
}

/* Finds the next record among up to `*most` that may be reclaimed: expired, without children, a
 * draw or reservations (`reserved`, by record). CG_NONE at the end of the pass. */
static inline int64_t cg_next_expired(cg_table *t, cg_private *mine, const uint64_t *reserved,
                                      uint64_t now_wall, uint64_t now_boot_ns, uint64_t *most) {
  while (*most > 0) {
    uint64_t number = mine->next_branch;
    mine->next_branch = (number + 1) % t->branches;
    *most -= 1;
    cg_branch *branch = &t->branch[number];
    uint64_t state = CG_STATE(cg_get(&branch->life));
    if (state == CG_FREE || mine->children[number] || reserved[number]) continue;
    if (cg_get(&branch->available) & CG_PENDING) continue; /* the ledger is being asked */
    if (state == CG_DYING ||
        cg_is_over(cg_get(&branch->expires), cg_get(&branch->held_from),
                   cg_get(&branch->held_for), now_wall, now_boot_ns))
      return (int64_t)number;
  }
  return CG_NONE;
}

#endif
