/* A snapshot of a lease while processes spend it: what is held, and what is surely burned.
 *
 * A process that moves credit adds to the destination before it takes from the source (credit.h),
 * so the credit is always in at least one place. A snapshot reads
 *   1. the lease,
 *   2. the reservations,
 *   3. the settled amount.
 * Credit that was taken before step 1 is in 2 or 3, unless it went back to the lease meanwhile.
 * Every return raises the table's credit generation before it empties its source. So if the
 * generation has not changed, missing credit is burned. A snapshot may count a credit twice; then
 * it finds less burned than there is, and never more.
 *
 * Only the agent applies grants, returns credit to the ledger and ends reservations of dead
 * processes. It does not do so during a snapshot.
 */
#ifndef CREWGATE_LOOK_H
#define CREWGATE_LOOK_H

#include "layout.h"

/* If a return spoils a snapshot, it is repeated. A snapshot takes 5 us with four thousand slots in
 * use: with a return every 10 us, two of five are spoiled, and all of them once in two million. */
enum { CG_LOOKS = 16 };

typedef struct {
  uint64_t available, settled, reserved;
  uint64_t loose;  /* the part of `reserved` that is only an upper bound */
  uint64_t burned; /* surely, at least */
} cg_seen;

/* Whether the slot holds credit; of which record, how much, and how much as an upper bound. */
static inline int cg_slot_holds(const cg_slot *slot, uint64_t *number, uint64_t *amount,
                                uint64_t *loose) {
  if (CG_SLOT(cg_get(&slot->state)) <= CG_SLOT_CLAIMED) return 0;
  *number = cg_get(&slot->branch);
  *amount = cg_get(&slot->amount);
  *loose = cg_get(&slot->tool) & CG_LOOSE ? *amount : 0;
  return 1;
}

/* Sums the reservations of every record, then the parts that are upper bounds. */
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

/* Sums the reservations of one record. */
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

/* Granted credit that is neither given back, settled, in the lease nor `reserved`, by this reading.
 * It is computed modulo 2^64 and read as signed, so a damaged table has a result too. */
static inline int64_t cg_gone(const cg_branch *branch, uint64_t available, uint64_t settled,
                              uint64_t reserved) {
  return (int64_t)(cg_get(&branch->granted) - cg_get(&branch->given_back) - available - settled -
                   reserved);
}

static inline uint64_t cg_between(uint64_t least, int64_t most) {
  if (most < 0) return 0;
  return least < (uint64_t)most ? least : (uint64_t)most;
}

/* Whether a reading misses more credit than is known to be burned. */
static inline int cg_exceeds(int64_t missing, uint64_t known) {
  return missing > 0 && (uint64_t)missing > known;
}

/* Takes one snapshot; if it returns 1, the `missing` credit is burned. */
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

/* Takes a snapshot of a record of which `known` was burned by the last one. Burned credit stays
 * burned, so a credit that a snapshot counts twice does not lower the result; only a return to the
 * lease does. If returns spoil every snapshot, the result is `known`. */
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

/* The same with the sums of `cg_sum_slots`, which are older than the lease. If they leave more
 * missing than is known, another snapshot is necessary. */
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
