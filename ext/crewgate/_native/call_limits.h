/* Limits on calls: how many in a time (rates), and how many at once (places). Nobody waits.
 *
 * A rate is one word: the time at which its bucket of calls is full again, of CLOCK_BOOTTIME in
 * nanoseconds (GCRA, ITU-T I.371, annex A). A call that may pass moves it on by one interval, with a
 * compare-and-swap.
 *
 * A place is one word too. It names the reservation slot of the call that has the place, with the
 * slot's generation. The place is taken while that slot is in use in that generation. So whatever
 * ends the reservation frees the place with the same store: the call itself, or the agent after a
 * SIGKILL or a deadline. No count can be wrong, since there is none.
 *
 * The agent alone gives words to limits (`limit_key`). It sets a word to the present time before it
 * gives the word to another limit. So the compare-and-swap of a process that read the word before
 * fails. */
#ifndef CREWGATE_CALL_LIMITS_H
#define CREWGATE_CALL_LIMITS_H

#include "layout.h"

/* slot (24 bits) | generation (39 bits); a time never has the highest bit. */
#define CG_PLACE (1ull << 63)
#define CG_PLACE_GENERATION ((1ull << 39) - 1)

enum { CG_OF_CELLS = 0, CG_OF_BRANCH = 1, CG_OF_RUN = 2 };

/* A limit as one process knows it, for the calls of one scope. */
typedef struct {
  uint64_t interval, slack; /* of a rate: ns for one call, and for the rest of the burst */
  uint32_t places;          /* 0: a rate */
  uint32_t of;              /* where its words are */
  int is_observed;
  const uint32_t *at; /* its cells in the table, or its words among those of a branch */
} cg_limit;

/* What a call has taken: a place if `interval` is 0. */
typedef struct {
  cg_word *word;
  uint64_t value; /* the place, or the time when a call was taken from the bucket */
  uint64_t interval;
} cg_limit_taken;

static inline cg_word *cg_limit_word(const cg_table *t, const cg_limit *limit, uint64_t record,
                                     uint64_t at) {
  if (limit->of == CG_OF_CELLS) {
    uint64_t cell = limit->at[at / CG_CELL_WORDS] & (CG_LIMIT_CELLS - 1);
    return &t->limit_cell[cell * CG_CELL_WORDS + at % CG_CELL_WORDS];
  }
  record &= t->branches - 1;
  if (limit->of == CG_OF_RUN && cg_get(&t->branch[record].parent_count) > 1)
    record = cg_parent(t, &t->branch[record], 1); /* the crew is its first parent, then the root */
  return &t->branch_limit[record * CG_BRANCH_LIMIT_WORDS +
                          limit->at[at] % CG_BRANCH_LIMIT_WORDS];
}

static inline uint64_t cg_full_at(uint64_t value, uint64_t now) {
  return value & CG_PLACE || value < now ? now : value;
}

/* How long a call must wait for a rate, in ns; 0: it may pass. Takes nothing. */
static inline uint64_t cg_rate_wait(const cg_word *word, const cg_limit *limit, uint64_t now) {
  uint64_t owed = cg_full_at(cg_get(word), now) - now;
  return owed > limit->slack ? owed - limit->slack : 0;
}

/* Takes one call from a bucket; 0, or how long the call must wait. */
static inline uint64_t cg_rate_take(cg_word *word, const cg_limit *limit, uint64_t now,
                                    cg_limit_taken *taken) {
  uint64_t value = cg_get(word), full;
  do {
    full = cg_full_at(value, now);
    if (full - now > limit->slack) return full - now - limit->slack;
  } while (!cg_cas(word, &value, full + limit->interval));
  *taken = (cg_limit_taken){word, now, limit->interval};
  return 0;
}

/* Gives a call back to its bucket, but not what time may have given back since it was taken. So the
 * bucket never has more calls than if this one had not come, whatever the others have done. */
static inline void cg_rate_undo(const cg_limit_taken *taken, uint64_t now) {
  uint64_t value = cg_get(taken->word), since = now - taken->value;
  if (now < taken->value || since >= taken->interval) return;
  do {
    if (value & CG_PLACE || value <= now) return; /* full, or another limit's by now */
  } while (!cg_cas(taken->word, &value, value - (taken->interval - since)));
}

/* The place of a call whose slot is claimed. `state` is that of its slot. */
static inline uint64_t cg_place_of(uint64_t slot, uint64_t state) {
  return CG_PLACE | slot << 39 | ((state >> 3) & CG_PLACE_GENERATION);
}

static inline int cg_is_place_taken(const cg_table *t, uint64_t value) {
  uint64_t slot = (value & ~CG_PLACE) >> 39;
  if (!(value & CG_PLACE) || slot >= t->reservations) return 0;
  uint64_t state = cg_get(&t->slot[slot].state);
  return CG_SLOT(state) != CG_SLOT_FREE && cg_place_of(slot, state) == value;
}

/* Takes a place; NULL if all are taken. Calls begin to look at different places. */
static inline cg_word *cg_take_place(const cg_table *t, const cg_limit *limit, uint64_t record,
                                     uint64_t place, uint64_t first) {
  for (uint64_t i = 0; i < limit->places; i++) {
    cg_word *word = cg_limit_word(t, limit, record, (first + i) % limit->places);
    uint64_t value = cg_get(word);
    while (!cg_is_place_taken(t, value))
      if (cg_cas(word, &value, place)) return word;
  }
  return NULL;
}

static inline void cg_undo_taken(const cg_limit_taken *taken, uint64_t now) {
  uint64_t place = taken->value;
  if (taken->interval) cg_rate_undo(taken, now);
  else cg_cas(taken->word, &place, 0); /* by now it may be another call's */
}

/* -- the agent only, from here on -------------------------------------------------------------- */

/* Gives a cell, or a word of all branches, to another limit: `key`, 0 for none. */
static inline void cg_give_limit_word(const cg_table *t, uint64_t at, uint64_t key, uint64_t now) {
  if (cg_get(&t->limit_key[at]) == key) return;
  cg_put(&t->limit_key[at], 0);
  if (at < CG_LIMIT_CELLS) {
    for (uint64_t i = 0; i < CG_CELL_WORDS; i++)
      cg_put(&t->limit_cell[at * CG_CELL_WORDS + i], now);
  } else {
    for (uint64_t record = 0; record < t->branches; record++)
      cg_put(&t->branch_limit[record * CG_BRANCH_LIMIT_WORDS + at - CG_LIMIT_CELLS], now);
  }
  cg_put(&t->limit_key[at], key);
}

/* Has each bucket that would be full later than after `most` ns be full now: no limit has such a
 * one, so its word is damaged, and would refuse all calls until then. */
static inline void cg_mend_buckets(const cg_table *t, uint64_t now, uint64_t most) {
  for (uint64_t at = 0; at < CG_LIMIT_CELLS * CG_CELL_WORDS; at++)
    if (cg_full_at(cg_get(&t->limit_cell[at]), now) - now > most) cg_put(&t->limit_cell[at], now);
  for (uint64_t at = 0; at < CG_BRANCH_LIMIT_WORDS * t->branches; at++)
    if (cg_full_at(cg_get(&t->branch_limit[at]), now) - now > most) cg_put(&t->branch_limit[at], now);
}

/* No limit has counted a call of a branch whose record begins. */
static inline void cg_begin_branch_limits(const cg_table *t, uint64_t record) {
  for (uint64_t i = 0; i < CG_BRANCH_LIMIT_WORDS; i++)
    cg_put(&t->branch_limit[record * CG_BRANCH_LIMIT_WORDS + i], 0);
}

#endif
