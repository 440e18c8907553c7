/* A look at a lease while others spend it: what is held of it, and what of it is surely burned.
 *
 * Whoever moves credit adds to where it goes before he takes from where it was (credit.h), so it is
 * never out of sight. A look reads the lease, then the reservations, then what is settled. What was
 * taken before the first is in the second or the third, unless it went back to the lease behind the
 * look's back; and of every return the table's credit generation tells before the place that it
 * left is empty. So where that stood still, what is missing is nobody's. A look can see a credit
 * twice; then it misses less than is burned, never more.
 *
 * Grants, returns to the ledger and the end of who died are the agent's: it looks, or does those.
 */
#ifndef CREWGATE_LOOK_H
#define CREWGATE_LOOK_H

#include "layout.h"

/* A look that a return spoils is repeated. It takes 5 us at four thousand slots in use: with a
 * return every 10 us, two of five are spoiled, and all of them once in two million. */
enum { CG_LOOKS = 16 };

typedef struct {
  uint64_t available, settled, reserved;
  uint64_t loose;  /* what of `reserved` only bounds what calls will cost */
  uint64_t burned; /* surely, at least */
} cg_seen;

/* Whether the slot holds credit of a record, and of which, how much, and how much of it loosely. */
static inline int cg_slot_holds(const cg_slot *slot, uint64_t *number, uint64_t *amount,
                                uint64_t *loose) {
  if (CG_SLOT(cg_get(&slot->state)) <= CG_SLOT_CLAIMED) return 0;
  *number = cg_get(&slot->branch);
  *amount = cg_get(&slot->amount);
  *loose = cg_get(&slot->tool) & CG_LOOSE ? *amount : 0;
  return 1;
}

/* Sums of what every record's reservations hold, then of what they hold loosely. */
static inline void cg_sum_slots(const cg_table *t, uint64_t *sums) {
  uint64_t number, amount, loose;
  for (uint64_t block = 0; block < t->reservations / CG_BLOCK_SLOTS; block++) {
    if (cg_get(&t->block_owner[block]) == 0) continue;
    for (uint64_t i = 0; i < CG_BLOCK_SLOTS; i++) {
      const cg_slot *slot = &t->slot[block * CG_BLOCK_SLOTS + i];
      if (!cg_slot_holds(slot, &number, &amount, &loose) || number >= t->branches) continue;
      sums[number] += amount;
      sums[t->branches + number] += loose;
    }
  }
}

/* The same of one record. */
static inline void cg_sum_record(const cg_table *t, uint64_t record, cg_seen *seen) {
  uint64_t number, amount, loose;
  seen->reserved = seen->loose = 0;
  for (uint64_t block = 0; block < t->reservations / CG_BLOCK_SLOTS; block++) {
    if (cg_get(&t->block_owner[block]) == 0) continue;
    for (uint64_t i = 0; i < CG_BLOCK_SLOTS; i++) {
      const cg_slot *slot = &t->slot[block * CG_BLOCK_SLOTS + i];
      if (!cg_slot_holds(slot, &number, &amount, &loose) || number != record) continue;
      seen->reserved += amount;
      seen->loose += loose;
    }
  }
}

/* Granted and neither given back nor settled nor in the lease, by this reading, nor `reserved`.
 * Counted modulo 2^64 and read as signed: whatever a damaged table says has a sum. */
static inline int64_t cg_gone(const cg_branch *branch, uint64_t available, uint64_t settled,
                              uint64_t reserved) {
  return (int64_t)(cg_get(&branch->granted) - cg_get(&branch->given_back) - available - settled -
                   reserved);
}

static inline uint64_t cg_between(uint64_t least, int64_t most) {
  if (most < 0) return 0;
  return least < (uint64_t)most ? least : (uint64_t)most;
}

/* Whether a reading leaves more missing than is known. */
static inline int cg_exceeds(int64_t missing, uint64_t known) {
  return missing > 0 && (uint64_t)missing > known;
}

/* One look; `missing` is nobody's if it returns 1. */
static inline int cg_snapshot_once(const cg_table *t, uint64_t record, cg_seen *seen,
                               int64_t *missing) {
  const cg_branch *branch = &t->branch[record];
  uint64_t returns = cg_get(&t->header->credit_generation);
  uint64_t first = CG_AMOUNT(cg_get(&branch->available));
  cg_sum_record(t, record, seen);
  seen->settled = CG_SETTLED(cg_get(&branch->settled));
  seen->available = CG_AMOUNT(cg_get(&branch->available));
  *missing = cg_gone(branch, first, seen->settled, seen->reserved);
  return cg_get(&t->header->credit_generation) == returns;
}

/* Looks at a record of which `known` was surely burned when it was last looked at. What is burned
 * stays so: what a look saw twice is no reason to say less, only that the lease has it again. If
 * every look was spoiled, no more is known than before. */
static inline void cg_snapshot(const cg_table *t, uint64_t record, uint64_t known, cg_seen *seen) {
  int64_t missing;
  int sure = 0;
  for (int looks = 0; looks < CG_LOOKS && !sure; looks++) {
    sure = cg_snapshot_once(t, record, seen, &missing);
    if (!cg_exceeds(missing, known)) break;
  }
  seen->burned = sure && cg_exceeds(missing, known) ? (uint64_t)missing : known;
  if (sure)
    seen->burned = cg_between(seen->burned,
                              cg_gone(&t->branch[record], seen->available, seen->settled, 0));
}

/* The same with the sums of `cg_sum_slots`, which are older than the lease: where they leave more
 * missing than is known, only another look can tell. */
static inline void cg_snapshot_after(const cg_table *t, uint64_t record, const uint64_t *sums,
                                 uint64_t known, cg_seen *seen) {
  const cg_branch *branch = &t->branch[record];
  seen->reserved = sums[record];
  seen->loose = sums[t->branches + record];
  seen->settled = CG_SETTLED(cg_get(&branch->settled));
  seen->available = CG_AMOUNT(cg_get(&branch->available));
  seen->burned = cg_between(known, cg_gone(branch, seen->available, seen->settled, 0));
  if (cg_exceeds(cg_gone(branch, seen->available, seen->settled, seen->reserved), known))
    cg_snapshot(t, record, known, seen);
}

#endif
