/* Transactions over several words, which only the agent does (or the process with a private table),
 * and the repair of what a killed process left.
 *
 * A redo log makes a transaction atomic. The transaction
 *   1. writes its absolute stores into the log,
 *   2. arms the log,
 *   3. performs the stores,
 *   4. disarms the log.
 * Other processes may change an available-credit word at any time. A transaction that changes one
 * commits with a compare-and-swap of that word, which also clears a flag in it. The repair repeats
 * the stores of a committed transaction and drops any other; repeating a store changes nothing.
 */
#ifndef CREWGATE_OWNER_H
#define CREWGATE_OWNER_H

#include <stdlib.h>

#include "call_limits.h"
#include "credit.h"
#include "index.h"

static inline uint64_t cg_offset(cg_table *t, cg_word *word) {
  return (uint64_t)((uint8_t *)word - (uint8_t *)t->header);
}
static inline cg_word *cg_at(cg_table *t, uint64_t offset) {
  return (cg_word *)((uint8_t *)t->header + offset);
}

static inline void cg_log(cg_table *t, uint64_t *count, cg_word *word, uint64_t value) {
  cg_redo *redo = &t->header->redo;
  cg_put(&redo->offset[*count], cg_offset(t, word));
  cg_put(&redo->value[*count], value);
  ++*count;
}

static inline void cg_perform(cg_table *t) {
  cg_redo *redo = &t->header->redo;
  uint64_t count = cg_get(&redo->armed);
  for (uint64_t i = 0; i < count && i < CG_REDO; i++) {
    uint64_t offset = cg_get(&redo->offset[i]);
    if (offset < t->bytes && offset >= sizeof(cg_header) && offset % sizeof(cg_word) == 0)
      cg_put(cg_at(t, offset), cg_get(&redo->value[i]));
  }
  cg_put(&redo->armed, 0);
}

static inline void cg_arm(cg_table *t, uint64_t count, cg_word *guard, uint64_t flag) {
  cg_redo *redo = &t->header->redo;
  cg_put(&redo->guard, guard ? cg_offset(t, guard) : 0);
  cg_put(&redo->guard_flag, flag);
  cg_put(&redo->armed, count);
}

/* After a kill: finishes a transaction that had committed, and drops any other. */
static inline void cg_recover(cg_table *t) {
  cg_redo *redo = &t->header->redo;
  if (cg_get(&redo->armed) == 0) return;
  uint64_t guard = cg_get(&redo->guard), flag = cg_get(&redo->guard_flag);
  if (guard && guard < t->bytes && guard % sizeof(cg_word) == 0 && (cg_get(cg_at(t, guard)) & flag)) {
    cg_put(&redo->armed, 0);
    return;
  }
  cg_perform(t);
}

static inline void cg_flag(cg_word *word, uint64_t set, uint64_t clear) {
  uint64_t value = cg_get(word);
  while (!cg_cas(word, &value, (value & ~clear) | set)) continue;
}

/* Begins a record: its words are written while it is BUSY, then it becomes LIVE. Each store is a
 * release store, so a reader that sees a new word also sees that the life has changed. */
static inline uint64_t cg_begin(cg_word *life, uint64_t low, uint64_t high) {
  uint64_t generation = CG_GENERATION(cg_get(life)) + 1;
  cg_put(life, generation << 3 | CG_BUSY);
  cg_put(life + 1, low);
  cg_put(life + 2, high);
  return generation;
}

/* Quota, its iat and the record's life; each a single word, the record is usable at any time. */
static inline void cg_amend(cg_branch *branch, uint64_t quota, uint64_t iat, uint64_t expires,
                            uint64_t held_from, uint64_t held_for) {
  cg_put(&branch->held_for, held_for);
  cg_put(&branch->held_from, held_from);
  cg_put(&branch->expires, expires);
  cg_put(&branch->quota, quota);
  cg_put(&branch->quota_iat, iat);
}

/* What the ledger knows about a lease in this life of the table. */
typedef struct {
  uint64_t sequence, granted, given_back, settled;
} cg_lease_report;

/* Begins a branch: it is BUSY until `cg_opened`, when all its words are written. Its lease
 * continues where it was when an earlier record of the branch was reclaimed. */
static inline void cg_open(cg_table *t, uint64_t number, const uint64_t *key, const uint64_t *path,
                           const uint32_t *parents, uint64_t parent_count, const cg_lease_report *told) {
  cg_branch *branch = &t->branch[number];
  uint64_t generation = cg_begin(&branch->life, key[0], key[1]);
  cg_put(&branch->path[0], path[0]);
  cg_put(&branch->path[1], path[1]);
  cg_word *zeroed[] = {&branch->closed, &branch->refused_need, &branch->refused_level,
                       &branch->refused_used, &branch->refused_quota,
                       &branch->refused_generation, &branch->retired, &branch->pending_need,
                       &branch->beyond, &branch->refused_window, &branch->below};
  for (size_t i = 0; i < sizeof zeroed / sizeof *zeroed; i++) cg_put(zeroed[i], 0);
  cg_begin_branch_limits(t, number);
  for (uint64_t i = 0; i < parent_count; i++) branch->parents[i] = parents[i];
  cg_put(&branch->parent_count, parent_count);
  cg_put(&branch->granted, told->granted);
  cg_put(&branch->given_back, told->given_back);
  cg_put(&branch->sequence, told->sequence);
  cg_put(&branch->settled, CG_TAG_SETTLED(generation) | CG_SETTLED(told->settled));
  cg_put(&branch->available, CG_TAG_AVAILABLE(generation));
}

static inline void cg_opened(cg_branch *branch) {
  cg_put(&branch->life, CG_GENERATION(cg_get(&branch->life)) << 3 | CG_LIVE);
}

static inline uint64_t cg_begin_draw(cg_branch *branch, uint64_t need) {
  uint64_t sequence = cg_get(&branch->sequence) + 1;
  cg_put(&branch->sequence, sequence);
  cg_put(&branch->pending_need, need);
  cg_flag(&branch->available, CG_PENDING, 0);
  return sequence;
}

/* Applies the ledger's answer to the pending draw, once: amount into the lease. */
static inline void cg_grant(cg_table *t, cg_branch *branch, uint64_t amount) {
  uint64_t count = 0;
  cg_log(t, &count, &branch->granted, cg_get(&branch->granted) + amount);
  cg_log(t, &count, &branch->pending_need, 0);
  cg_log(t, &count, &branch->refused_need, 0);
  cg_arm(t, count, &branch->available, CG_PENDING);
  uint64_t available = cg_get(&branch->available);
  while (!cg_cas(&branch->available, &available, cg_add_available(available & ~CG_PENDING, amount)))
    continue;
  cg_perform(t);
}

/* Adds credit to the lease that the ledger has not granted yet, with or without a pending draw. */
static inline void cg_lend(cg_table *t, cg_branch *branch, uint64_t amount) {
  cg_flag(&branch->available, CG_TAKING, 0);
  uint64_t count = 0;
  cg_put(&t->header->redo.armed, 0);
  cg_log(t, &count, &branch->granted, cg_get(&branch->granted) + amount);
  cg_arm(t, count, &branch->available, CG_TAKING);
  uint64_t available = cg_get(&branch->available);
  while (!cg_cas(&branch->available, &available, cg_add_available(available & ~CG_TAKING, amount)))
    continue;
  cg_perform(t);
}

/* The pending draw was refused: `level` 0 is the branch, then its parent … the crew last. */
static inline void cg_refuse(cg_table *t, cg_branch *branch, uint64_t level, uint64_t need,
                             uint64_t used, uint64_t quota, uint64_t window) {
  cg_put(&branch->refused_need, 0);
  cg_put(&branch->refused_level, level);
  cg_put(&branch->refused_used, used);
  cg_put(&branch->refused_quota, quota);
  cg_put(&branch->refused_window, window);
  cg_put(&branch->refused_generation, cg_get(&t->header->credit_generation));
  cg_put(&branch->refused_need, need);
  cg_flag(&branch->available, 0, CG_PENDING);
  cg_put(&branch->pending_need, 0);
}

/* Takes up to `most` of unreserved credit out of the lease, for the ledger; returns the amount. */
static inline uint64_t cg_take_back(cg_table *t, cg_branch *branch, uint64_t most) {
  cg_flag(&branch->available, CG_TAKING, 0);
  uint64_t available = cg_get(&branch->available), taken;
  do {
    uint64_t count = 0;
    taken = CG_AMOUNT(available) < most ? CG_AMOUNT(available) : most;
    cg_put(&t->header->redo.armed, 0);
    cg_log(t, &count, &branch->given_back, cg_get(&branch->given_back) + taken);
    cg_arm(t, count, &branch->available, CG_TAKING);
  } while (!cg_cas(&branch->available, &available, (available & ~CG_TAKING) - taken));
  cg_perform(t);
  if (taken) cg_increment(&t->header->credit_generation);
  return taken;
}

/* The first half of reclaiming a branch: no process can take credit from it any more. */
static inline void cg_seal(cg_branch *branch) {
  uint64_t life = cg_get(&branch->life), generation = CG_GENERATION(life);
  cg_put(&branch->life, generation << 3 | CG_DYING);
  uint64_t available = cg_get(&branch->available), sealed;
  do {
    sealed = CG_TAG_AVAILABLE(generation + 1) | CG_AMOUNT(available);
  } while (!cg_cas(&branch->available, &available, sealed));
}

/* The second half, once no slot refers to it: what it consumed stays charged to every ancestor. */
static inline void cg_forget(cg_table *t, uint64_t number) {
  cg_branch *branch = &t->branch[number];
  uint64_t count = 0, parents = cg_get(&branch->parent_count);
  uint64_t consumed = cg_get(&branch->granted) - cg_get(&branch->given_back) -
                      CG_AMOUNT(cg_get(&branch->available));
  for (uint64_t i = 0; i < parents && i < CG_PARENTS; i++) {
    cg_branch *parent = &t->branch[cg_parent(t, branch, i)];
    cg_log(t, &count, &parent->retired, cg_get(&parent->retired) + consumed);
  }
  cg_log(t, &count, &branch->life, CG_GENERATION(cg_get(&branch->life)) << 3 | CG_FREE);
  cg_arm(t, count, NULL, 0);
  cg_perform(t);
}

/* Writes a revocation; every process applies it from the moment its record is published. */
static inline void cg_write_revocation(cg_revocation *entry, const uint64_t *key, uint64_t before,
                                       uint64_t expires, uint64_t held_from, uint64_t held_for,
                                       uint64_t crew) {
  uint64_t generation = cg_begin(&entry->life, key[0], key[1]);
  cg_put(&entry->before, before);
  cg_put(&entry->expires, expires);
  cg_put(&entry->held_from, held_from);
  cg_put(&entry->held_for, held_for);
  cg_put(&entry->crew, crew);
  cg_put(&entry->life, generation << 3 | CG_LIVE);
}

/* Makes index and records agree again: removes words of dead records and duplicate words, and
 * publishes records without a word. Returns how many records had none. */
static inline uint64_t cg_reindex(const cg_table *t, const cg_index *x) {
  uint64_t span = cg_span(x), lost = 0, found;
  for (uint64_t at = 0; at < 2 * x->records; at++) {
    uint64_t word = cg_get(x->words + at), number = (word & 0xffffffffu) - 1;
    if ((word & 0xffffffffu) == 0) continue;
    cg_word *record = number < x->records ? cg_life(x, number) : NULL;
    uint64_t low = record ? cg_get(record + 1) : 0, high = record ? cg_get(record + 2) : 0;
    uint64_t hash = cg_hash(t, low, high);
    if (!record || CG_STATE(cg_get(record)) != CG_LIVE || word >> 32 != hash >> 32 ||
        cg_shard(x, hash) != at / span ||
        cg_probe(x, hash, low, high, &found) != (int64_t)at) {
      cg_increment(x->moves + at / span); /* a duplicate, whose move may not have been counted */
      cg_put(x->words + at, CG_TOMBSTONE);
    }
  }
  for (uint64_t number = 0; number < x->records; number++) {
    cg_word *record = cg_life(x, number);
    uint64_t life = cg_get(record), state = CG_STATE(life);
    if (state == CG_BUSY) cg_put(record, life & ~7ull); /* was never live */
    if (state != CG_LIVE) continue;
    uint64_t low = cg_get(record + 1), high = cg_get(record + 2);
    if (cg_probe(x, cg_hash(t, low, high), low, high, &found) >= 0) continue;
    lost += 1;
    cg_publish(t, x, number);
  }
  for (uint64_t shard = 0; shard < 2 * x->records / span; shard++) cg_compact(t, x, shard);
  return lost;
}

/* What `cg_drop_damaged` knows about a record; it visits each record once, ancestors first. */
typedef struct {
  uint32_t below; /* the record from which the visit came; the record itself if it began there */
  uint8_t parent; /* the next parent to visit */
  uint8_t known;
} cg_check;
enum { CG_UNSEEN = 0, CG_LOOKING = 1, CG_SOUND = 2, CG_DAMAGED = 3 };

/* Looks at the next parents of a record: CG_SOUND or CG_DAMAGED, or CG_LOOKING if `ask` must be
 * visited first. A parent whose visit is not over is its own ancestor. */
static inline int cg_check_step(const cg_table *t, cg_check *checks, uint64_t number,
                                uint64_t *ask) {
  const cg_branch *branch = &t->branch[number];
  uint64_t count = cg_get(&branch->parent_count);
  int used = CG_STATE(cg_get(&branch->life)) != CG_FREE;
  if (count > CG_PARENTS) return CG_DAMAGED;
  for (; checks[number].parent < count; checks[number].parent++) {
    uint64_t parent = branch->parents[checks[number].parent];
    if (parent >= t->branches) return CG_DAMAGED;
    if (!used) continue;
    if (CG_STATE(cg_get(&t->branch[parent].life)) != CG_LIVE) return CG_DAMAGED;
    if (checks[parent].known == CG_SOUND) continue;
    *ask = parent;
    return checks[parent].known == CG_UNSEEN ? CG_LOOKING : CG_DAMAGED;
  }
  return CG_SOUND;
}

/* Visits a record and all above it. Without recursion, since a damaged table may name a path as
 * long as the number of its records. */
static inline void cg_check_record(cg_table *t, cg_check *checks, uint64_t number) {
  uint64_t ask;
  checks[number] = (cg_check){(uint32_t)number, 0, CG_LOOKING};
  for (;;) {
    uint64_t below = checks[number].below;
    int found = cg_check_step(t, checks, number, &ask);
    if (found == CG_LOOKING) {
      checks[ask] = (cg_check){(uint32_t)number, 0, CG_LOOKING};
      number = ask;
      continue;
    }
    checks[number].known = (uint8_t)found;
    if (found == CG_DAMAGED) {
      cg_put(&t->branch[number].parent_count, 0);
      cg_put(&t->branch[number].life, cg_get(&t->branch[number].life) & ~7ull);
    }
    if (below == number) return;
    number = below;
  }
}

/* Frees the records with impossible parents, and all below them: the file was damaged, not left by
 * a killed process. Visits each record once. Returns 0 if there is no memory. */
static inline int cg_drop_damaged(cg_table *t) {
  cg_check *checks = calloc(t->branches, sizeof *checks);
  if (checks == NULL) return 0;
  for (uint64_t number = 0; number < t->branches; number++)
    if (checks[number].known == CG_UNSEEN) cg_check_record(t, checks, number);
  free(checks);
  return 1;
}

/* Finishes the reclaiming that a killed agent had begun. Otherwise nothing would be charged for
 * what such a branch consumed, neither to the branch nor to its ancestors. */
static inline void cg_end_dying(cg_table *t) {
  for (uint64_t number = 0; number < t->branches; number++) {
    if (CG_STATE(cg_get(&t->branch[number].life)) != CG_DYING) continue;
    cg_seal(&t->branch[number]);
    cg_forget(t, number);
  }
}

/* Repairs a table that another agent left; an agent does this first. `lost` counts the records that
 * had no word in the index. Returns 0 if there is no memory. */
static inline int cg_repair(cg_table *t, uint64_t *lost) {
  cg_index branches = cg_branches(t), revocations = cg_revocations(t);
  cg_recover(t);
  if (!cg_drop_damaged(t)) return 0;
  cg_end_dying(t);
  *lost = cg_reindex(t, &branches) + cg_reindex(t, &revocations);
  for (uint64_t number = 0; number < t->branches; number++) {
    cg_branch *branch = &t->branch[number];
    uint64_t available = cg_get(&branch->available);
    if (available & CG_TAKING) cg_flag(&branch->available, 0, CG_TAKING);
    if (!(available & CG_PENDING) && cg_get(&branch->pending_need))
      cg_put(&branch->pending_need, 0); /* nothing was sent */
  }
  cg_increment(&t->header->revocation_generation);
  cg_increment(&t->header->credit_generation);
  return 1;
}

#endif
