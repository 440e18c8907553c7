/* Open addressing over 64-bit words: every process reads without waiting, the agent writes.
 *
 * A word is fingerprint (32 bits) | record number + 1 (32 bits); 0 is empty, and a fingerprint
 * without a number is a tombstone. Probing stays within a shard. To move an entry, the agent
 *   1. publishes it at its new place,
 *   2. counts a move of the shard,
 *   3. writes a tombstone at the old place.
 * A reader that found nothing reads the count again, and repeats if it has changed. So a reader
 * never misses an entry.
 */
#ifndef CREWGATE_INDEX_H
#define CREWGATE_INDEX_H

#include "layout.h"

#define CG_TOMBSTONE 0xffffffff00000000ull
#define CG_LOOKUPS_MAX 64 /* repeats because of moves; after them the caller fails closed */
#define CG_NONE (-1)
#define CG_UNKNOWN (-2)

typedef struct {
  cg_word *words;  /* 2 * records */
  cg_word *moves;  /* one count per shard */
  uint8_t *record; /* base of records; each begins with life, key[2] */
  uint64_t stride, records;
} cg_index;

static inline cg_index cg_branches(const cg_table *t) {
  return (cg_index){t->branch_index, t->header->branch_moves, (uint8_t *)t->branch,
                    sizeof(cg_branch), t->branches};
}
static inline cg_index cg_revocations(const cg_table *t) {
  return (cg_index){t->revocation_index, t->header->revocation_moves, (uint8_t *)t->revocation,
                    sizeof(cg_revocation), t->revocations};
}

/* Keys are BLAKE2b outputs, but a crew chooses what is hashed: the secret seed keeps it from
 * aiming at one shard. One 64 × 64 → 128 multiplication mixes both halves. */
static inline uint64_t cg_hash(const cg_table *t, uint64_t low, uint64_t high) {
  __uint128_t product = (__uint128_t)(low ^ t->header->seed[0]) * (high ^ t->header->seed[1]);
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline cg_word *cg_life(const cg_index *x, uint64_t number) {
  return (cg_word *)(x->record + number * x->stride);
}

/* Whether record `number` has this key now. A seqlock read: life, key, life again. */
static inline int cg_holds(const cg_index *x, uint64_t number, uint64_t low, uint64_t high) {
  cg_word *word = cg_life(x, number);
  uint64_t life = cg_get(word);
  if (CG_STATE(life) != CG_LIVE) return 0;
  uint64_t a = atomic_load_explicit(word + 1, memory_order_relaxed);
  uint64_t b = atomic_load_explicit(word + 2, memory_order_relaxed);
  atomic_thread_fence(memory_order_acquire);
  return a == low && b == high && atomic_load_explicit(word, memory_order_relaxed) == life;
}

/* Words of a shard: 64 shards, or fewer in a small table, whose shards would fill unevenly. */
#define CG_SPAN_MIN 1024u
static inline uint64_t cg_span(const cg_index *x) {
  uint64_t words = 2 * x->records, span = words / CG_SHARDS;
  return span >= CG_SPAN_MIN ? span : words < CG_SPAN_MIN ? words : CG_SPAN_MIN;
}
static inline uint64_t cg_shard(const cg_index *x, uint64_t hash) {
  return hash & (2 * x->records / cg_span(x) - 1);
}

/* Position of the word for (key), or CG_NONE; `number` receives the record. */
static inline int64_t cg_probe(const cg_index *x, uint64_t hash, uint64_t low, uint64_t high,
                               uint64_t *number) {
  uint64_t span = cg_span(x), mask = span - 1;
  cg_word *shard = x->words + cg_shard(x, hash) * span;
  uint64_t home = (hash >> 6) & mask, tag = hash >> 32 << 32;
  for (uint64_t step = 0; step < span; step++) {
    uint64_t at = (home + step) & mask, word = cg_get(shard + at);
    if (word == 0) return CG_NONE;
    uint64_t candidate = (word & 0xffffffffu) - 1;
    if ((word >> 32 << 32) == tag && candidate < x->records &&
        cg_holds(x, candidate, low, high)) {
      *number = candidate;
      return (int64_t)(cg_shard(x, hash) * span + at);
    }
  }
  return CG_NONE;
}

/* Record number of a key; CG_NONE if the table does not hold it; CG_UNKNOWN if entries moved too
 * often to say (fail closed). Never waits. */
static inline int64_t cg_lookup(const cg_table *t, const cg_index *x, uint64_t low,
                                uint64_t high) {
  uint64_t hash = cg_hash(t, low, high), number = 0;
  cg_word *moves = x->moves + cg_shard(x, hash);
  for (int again = 0; again < CG_LOOKUPS_MAX; again++) {
    uint64_t before = cg_get(moves);
    if (cg_probe(x, hash, low, high, &number) >= 0) return (int64_t)number;
    if (cg_get(moves) == before) return CG_NONE;
  }
  return CG_UNKNOWN;
}

/* 1 if a token with this key, issued at `issued_at` (seconds), is revoked; fails closed. */
static inline int cg_is_revoked(const cg_table *t, uint64_t low, uint64_t high,
                                uint64_t issued_at) {
  cg_index x = cg_revocations(t);
  int64_t number = cg_lookup(t, &x, low, high);
  if (number == CG_NONE) return 0;
  if (number == CG_UNKNOWN) return 1;
  uint64_t before = cg_get(&t->revocation[number].before);
  if (!cg_holds(&x, (uint64_t)number, low, high)) return 0; /* expired and reclaimed meanwhile */
  return issued_at <= before;
}

/* 1 if one of a token's keys (pairs of words) is revoked.
 *
 * `*clear` belongs to the token, and is 0 at first. It keeps the generation of the last search that
 * found nothing, plus 1: until the next revocation, there is no further search. The generation is
 * read before the search. A revocation that the search misses increments it later, so the next call
 * searches again. */
static inline int cg_is_token_revoked(const cg_table *t, const uint64_t *keys, int count,
                                      uint64_t issued_at, uint64_t *clear) {
  uint64_t search = cg_get(&t->header->revocation_generation) + 1;
  if (*clear == search) return 0;
  for (int at = 0; at < count; at++)
    if (cg_is_revoked(t, keys[2 * at], keys[2 * at + 1], issued_at)) return 1;
  *clear = search;
  return 0;
}

/* -- the agent only, from here on -------------------------------------------------------------- */

/* Publishes a LIVE record under its key. 0 if the shard is full. */
static inline int cg_publish(const cg_table *t, const cg_index *x, uint64_t number) {
  cg_word *record = cg_life(x, number);
  uint64_t hash = cg_hash(t, cg_get(record + 1), cg_get(record + 2));
  uint64_t span = cg_span(x), mask = span - 1;
  cg_word *shard = x->words + cg_shard(x, hash) * span;
  for (uint64_t step = 0; step < span; step++) {
    cg_word *word = shard + (((hash >> 6) + step) & mask);
    if ((cg_get(word) & 0xffffffffu) == 0) {
      cg_put(word, (hash >> 32 << 32) | (number + 1));
      return 1;
    }
  }
  return 0;
}

/* Takes every word of this record out of the index (after a crash there may be two). */
static inline void cg_bury(const cg_table *t, const cg_index *x, uint64_t number) {
  cg_word *record = cg_life(x, number);
  uint64_t hash = cg_hash(t, cg_get(record + 1), cg_get(record + 2));
  uint64_t span = cg_span(x), mask = span - 1;
  cg_word *shard = x->words + cg_shard(x, hash) * span;
  for (uint64_t step = 0; step < span; step++) {
    cg_word *word = shard + (((hash >> 6) + step) & mask);
    uint64_t value = cg_get(word);
    if (value == 0) return;
    if ((value & 0xffffffffu) == number + 1) cg_put(word, CG_TOMBSTONE);
  }
}

static inline uint64_t cg_home(const cg_table *t, const cg_index *x, uint64_t word) {
  cg_word *record = cg_life(x, ((word & 0xffffffffu) - 1) & (x->records - 1));
  return (cg_hash(t, cg_get(record + 1), cg_get(record + 2)) >> 6) & (cg_span(x) - 1);
}

/* Removes the tombstones of a shard. From an empty word on, each entry moves to the first tombstone
 * of its own probe path. Then no path crosses a tombstone any more, and all of them become empty.
 * Without an empty word to start from, it changes nothing. */
static inline void cg_compact(const cg_table *t, const cg_index *x, uint64_t number) {
  uint64_t span = cg_span(x), mask = span - 1, start = 0;
  cg_word *shard = x->words + number * span;
  while (start < span && cg_get(shard + start) != 0) start++;
  if (start == span) return;
  for (uint64_t step = 1; step < span; step++) {
    uint64_t at = (start + step) & mask, word = cg_get(shard + at);
    if ((word & 0xffffffffu) == 0) continue;
    for (uint64_t to = cg_home(t, x, word); to != at; to = (to + 1) & mask) {
      if (cg_get(shard + to) != CG_TOMBSTONE) continue;
      cg_put(shard + to, word);
      cg_increment(x->moves + number);
      cg_put(shard + at, CG_TOMBSTONE);
      break;
    }
  }
  for (uint64_t at = 0; at < span; at++)
    if (cg_get(shard + at) == CG_TOMBSTONE) cg_put(shard + at, 0);
}

static inline uint64_t cg_tombstones(const cg_index *x, uint64_t number) {
  uint64_t span = cg_span(x), found = 0;
  for (uint64_t at = 0; at < span; at++)
    found += cg_get(x->words + number * span + at) == CG_TOMBSTONE;
  return found;
}

#endif
