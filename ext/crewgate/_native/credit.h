/* Spending a lease: one compare-and-swap on the available-credit word, by any process.
 *
 * A process claims a reservation as intent before it takes the credit, so the agent finds whatever
 * a dead process leaves. Credit that is missing although no reservation holds it counts as burned.
 * Credit in transit must not count as burned. Therefore every move adds to the destination first: a
 * process that is stopped in between leaves credit in two places, never in none (lease_snapshot.h).
 */
#ifndef CREWGATE_CREDIT_H
#define CREWGATE_CREDIT_H

#include "layout.h"

enum { CG_TAKEN = 0, CG_SHORT = 1, CG_GONE = 2, CG_LOST = 3 };

/* CG_SHORT: the lease has less than that; CG_GONE: the record was reclaimed; else CG_TAKEN. */
static inline int cg_has(uint64_t available, uint64_t generation, uint64_t amount) {
  if (!CG_SAME_AVAILABLE(available, generation)) return CG_GONE;
  return CG_AMOUNT(available) < amount ? CG_SHORT : CG_TAKEN;
}

/* Takes `amount` from the lease: CG_TAKEN, or why not. */
static inline int cg_take(cg_branch *branch, uint64_t generation, uint64_t amount,
                          uint64_t *left) {
  uint64_t available = cg_get(&branch->available);
  do {
    int has = cg_has(available, generation, amount);
    if (has != CG_TAKEN) return has;
  } while (!cg_cas(&branch->available, &available, available - amount));
  *left = CG_AMOUNT(available) - amount;
  return CG_TAKEN;
}

/* Returns the word with `amount` more. Credit that does not fit into the 40 bits burns, so that it
 * cannot change the flags and the generation: undone calls can exceed what a lease may hold. */
static inline uint64_t cg_add_available(uint64_t available, uint64_t amount) {
  uint64_t room = CG_AMOUNT_MAX - CG_AMOUNT(available);
  return available + (amount < room ? amount : room);
}

/* Returns `amount` to the lease, and raises the credit generation, which refused branches watch. */
static inline void cg_untake(cg_table *t, cg_branch *branch, uint64_t generation,
                             uint64_t amount) {
  if (amount == 0) return;
  uint64_t available = cg_get(&branch->available);
  do {
    if (!CG_SAME_AVAILABLE(available, generation)) return;
  } while (!cg_cas(&branch->available, &available, cg_add_available(available, amount)));
  cg_increment(&t->header->credit_generation);
}

/* Adds to the settled amount of the branch. An amount that does not fit into the 53 bits is not
 * counted, so that it cannot change the generation. */
static inline void cg_settle(cg_branch *branch, uint64_t generation, uint64_t amount) {
  uint64_t settled = cg_get(&branch->settled), more;
  do {
    if (!CG_SAME_SETTLED(settled, generation)) return;
    uint64_t room = CG_SETTLED_MAX - CG_SETTLED(settled);
    more = amount < room ? amount : room;
  } while (!cg_cas(&branch->settled, &settled, settled + more));
}

/* Subtracts the cost of a call that went back to the lease, but never below 0. */
static inline void cg_unsettle(cg_branch *branch, uint64_t generation, uint64_t amount) {
  uint64_t settled = cg_get(&branch->settled), less;
  do {
    if (!CG_SAME_SETTLED(settled, generation)) return;
    less = amount < CG_SETTLED(settled) ? amount : CG_SETTLED(settled);
  } while (!cg_cas(&branch->settled, &settled, settled - less));
}

/* Takes `amount` and settles it at once. After a kill between the stores, the amount is settled and
 * still in the lease: nothing is lost, and reports allow for it (leases/lease_returns.py). */
static inline int cg_spend(cg_branch *branch, uint64_t generation, uint64_t amount,
                           uint64_t *left) {
  uint64_t available = cg_get(&branch->available);
  int has = cg_has(available, generation, amount);
  if (has != CG_TAKEN) return has;
  cg_settle(branch, generation, amount);
  while (!cg_cas(&branch->available, &available, available - amount)) {
    has = cg_has(available, generation, amount);
    if (has == CG_TAKEN) continue;
    cg_unsettle(branch, generation, amount);
    return has;
  }
  *left = CG_AMOUNT(available) - amount;
  return CG_TAKEN;
}

/* Undoes `cg_spend` for `amount`. */
static inline void cg_unspend(cg_table *t, cg_branch *branch, uint64_t generation,
                              uint64_t amount) {
  cg_untake(t, branch, generation, amount);
  cg_unsettle(branch, generation, amount);
}

/* Moves a slot on from `state`; 0 if the agent has ended it meanwhile (deadline, detached). */
static inline int cg_slot_step(cg_slot *slot, uint64_t *state, uint64_t next) {
  uint64_t moved = (*state & ~7ull) | next;
  if (!cg_cas(&slot->state, state, moved)) return 0;
  *state = moved;
  return 1;
}

/* Ends the reservation; its slot may be claimed again under a new generation. */
static inline int cg_slot_end(cg_slot *slot, uint64_t state) {
  return cg_cas(&slot->state, &state, CG_SLOT_NEXT(state, CG_OWNER(state)));
}

/* An open call in the private memory of its process. The process settles it by this copy, and never
 * by the words of the slot, which are for the agent if the process dies. */
typedef struct {
  cg_slot *slot; /* null: nothing is held */
  uint64_t state;
  uint64_t branch, generation, amount;
} cg_hold;

/* Claims the slot (free, of a block that `owner` holds) for a call that has taken no credit yet.
 * CG_LOST: the slot belongs to another process by now, because the agent gave up a process that was
 * stopped. */
static inline int cg_claim_slot(cg_hold *hold, uint64_t owner, uint64_t deadline,
                                const cg_slot *attribution) {
  cg_slot *slot = hold->slot;
  hold->state = cg_get(&slot->state);
  if (CG_OWNER(hold->state) != owner || CG_SLOT(hold->state) != CG_SLOT_FREE ||
      !cg_slot_step(slot, &hold->state, CG_SLOT_CLAIMED))
    return CG_LOST;
  cg_put(&slot->branch, hold->branch);
  cg_put(&slot->branch_generation, hold->generation);
  cg_put(&slot->amount, hold->amount);
  cg_put(&slot->deadline, deadline);
  cg_put(&slot->started, attribution->started);
  cg_put(&slot->tool, attribution->tool);
  cg_put(&slot->cost, 0);
  for (int half = 0; half < 2; half++) {
    cg_put(&slot->grant[half], attribution->grant[half]);
    cg_put(&slot->request[half], attribution->request[half]);
  }
  return CG_TAKEN;
}

/* Takes the credit for a claimed slot. Unless that is CG_TAKEN, the slot has ended. */
static inline int cg_fund_slot(cg_table *t, cg_hold *hold, uint64_t *left) {
  cg_slot *slot = hold->slot;
  if (!cg_slot_step(slot, &hold->state, CG_SLOT_INTENT)) return CG_LOST;
  int taken = cg_take(&t->branch[hold->branch], hold->generation, hold->amount, left);
  if (taken != CG_TAKEN) {
    cg_slot_end(slot, hold->state);
    return taken;
  }
  if (cg_slot_step(slot, &hold->state, CG_SLOT_HELD)) return CG_TAKEN;
  cg_untake(t, &t->branch[hold->branch], hold->generation, hold->amount);
  return CG_LOST;
}

static inline int cg_reserve(cg_table *t, cg_hold *hold, uint64_t owner, uint64_t deadline,
                             const cg_slot *attribution, uint64_t *left) {
  int taken = cg_claim_slot(hold, owner, deadline, attribution);
  return taken == CG_TAKEN ? cg_fund_slot(t, hold, left) : taken;
}

/* Grows a held reservation by `more`; CG_TAKEN if that worked. The slot is changed first, and then
 * the credit is taken. CG_LOST: the agent has burned the reservation, with what was taken. */
static inline int cg_hold_grow(cg_table *t, cg_hold *hold, uint64_t more, uint64_t *left) {
  uint64_t amount = hold->amount, grown = amount + more;
  if (cg_get(&hold->slot->state) != hold->state || !cg_cas(&hold->slot->amount, &amount, grown))
    return CG_LOST;
  int taken = CG_LOST;
  if (cg_get(&hold->slot->state) == hold->state)
    taken = cg_take(&t->branch[hold->branch], hold->generation, more, left);
  if (taken != CG_TAKEN) {
    cg_cas(&hold->slot->amount, &grown, amount);
    return taken;
  }
  if (cg_get(&hold->slot->state) != hold->state) return CG_LOST;
  hold->amount = grown;
  return CG_TAKEN;
}

/* Ends a held reservation: `cost` of it is charged for good, the rest returns to the lease.
 * 0 if the agent had burned it. */
static inline int cg_hold_settle(cg_table *t, cg_hold *hold, uint64_t cost) {
  cg_branch *branch = &t->branch[hold->branch];
  if (!cg_slot_step(hold->slot, &hold->state, CG_SLOT_SETTLING)) return 0;
  cg_put(&hold->slot->cost, cost);
  if (cost) cg_settle(branch, hold->generation, cost);
  cg_untake(t, branch, hold->generation, hold->amount - cost);
  cg_slot_end(hold->slot, hold->state);
  return 1;
}

/* Takes a free block of slots for `owner`; its number, or -1. Any process, at most its share. */
static inline int64_t cg_block_take(cg_table *t, uint64_t owner) {
  uint64_t blocks = t->reservations / CG_BLOCK_SLOTS, held = 0;
  for (uint64_t block = 0; block < blocks; block++)
    held += cg_get(&t->block_owner[block]) == owner + 1;
  if (held >= (blocks + 1) / 2) return -1; /* at most half, so that no process starves the others */
  for (uint64_t block = 0; block < blocks; block++) {
    uint64_t none = 0;
    if (cg_get(&t->block_owner[block]) || !cg_cas(&t->block_owner[block], &none, owner + 1))
      continue;
    for (uint64_t i = 0; i < CG_BLOCK_SLOTS; i++) {
      cg_slot *slot = &t->slot[block * CG_BLOCK_SLOTS + i];
      uint64_t state = cg_get(&slot->state);
      /* If this process was stopped here, the agent may have given the block to another. Then the
       * owner differs, or the agent has changed the state, or (if the other has the same attachment
       * number) a call is open. */
      if (CG_SLOT(state) != CG_SLOT_FREE || cg_get(&t->block_owner[block]) != owner + 1 ||
          !cg_cas(&slot->state, &state, CG_SLOT_NEXT(state, owner)))
        return -1;
    }
    return (int64_t)block;
  }
  return -1;
}

#endif
