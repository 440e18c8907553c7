/* A process that is stopped before any store of a call, loses its place meanwhile, and goes on.
 *
 * While it stands still the agent drops its attachment (or burns its call, or forgets its branch),
 * another process gets the block of slots and has a call in flight there, under another number or
 * under the very same one. Whatever the first does when it goes on: the other's call is settled as
 * if nothing had been, and no lease has more than what it was granted and is not spent. Built with
 * CREWGATE_FAULTS, whose kill is replaced by that meanwhile. Prints how many stops there were.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void meanwhile(void);
#define kill(process, signal) meanwhile()
#include "reclaim.h"
#include "opened.h"
#undef kill

enum { SIZE = 64, STOPPED = 0, OTHER = 1 };
static const uint64_t NEVER = UINT64_MAX, LEASE = 1000, PRICE = 10, COST = 4;
static const char *const MEANWHILES[] = {"nothing", "dropped", "renumbered", "burned", "forgotten"};
enum { NOTHING, DROPPED, RENUMBERED, BURNED, FORGOTTEN, MEANWHILE_COUNT };
enum { BEGUN, SETTLED, RELEASED, ACT_COUNT };

static cg_table table;
static cg_private mine;
static uint8_t *memory;
static int what;        /* happens while it stands still */
static uint64_t stops;  /* before which store */
static cg_hold in_flight; /* the other's call */

static void promised(int kept, const char *promise, int act) {
  if (kept) return;
  printf("broken: %s (act %d, store %llu, meanwhile %s)\n", promise, act,
         (unsigned long long)stops, MEANWHILES[what]);
  exit(1);
}

static void open_record(uint64_t key, uint64_t grant, const uint32_t *above, uint64_t parents) {
  uint32_t number = opened(&table, &mine, key, above, parents);
  for (uint64_t i = 0; i < parents; i++) mine.children[above[i]]++;
  if (grant == 0) return;
  cg_begin_draw(&table.branch[number], grant);
  cg_grant(&table, &table.branch[number], grant);
}

/* A crew (record 0) with one branch (record 1) that has a lease. */
static void begin(void) {
  const uint32_t crew[] = {0};
  uint64_t bytes = cg_map(&table, NULL, SIZE, SIZE, 2 * CG_BLOCK_SLOTS, 2, 1024);
  if (!memory) memory = aligned_alloc(4096, bytes);
  promised(memory != NULL, "no memory", 0);
  memset(memory, 0, bytes);
  *(cg_header *)memory = (cg_header){.branches = SIZE, .revocations = SIZE,
                                     .reservations = 2 * CG_BLOCK_SLOTS, .attachments = 2};
  cg_map(&table, memory, SIZE, SIZE, 2 * CG_BLOCK_SLOTS, 2, 1024);
  cg_private_free(&mine);
  promised(cg_count(&table, &mine), "no memory", 0);
  open_record(1, 0, NULL, 0);
  open_record(2, LEASE, crew, 1);
  in_flight = (cg_hold){0};
}

static uint64_t generation(void) { return CG_GENERATION(cg_get(&table.branch[1].life)); }

static int reserve(cg_hold *hold, uint64_t owner, cg_slot *slot, uint64_t generation) {
  cg_slot attribution = {0};
  uint64_t left;
  *hold = (cg_hold){slot, 0, 1, generation, PRICE};
  return cg_reserve(&table, hold, owner, NEVER, &attribution, &left);
}

/* As `attachments.pyx`: ends every reservation of the owner, then frees its blocks. */
static void drop(uint64_t owner) {
  for (uint64_t b = 0; b < 2; b++) {
    if (cg_get(&table.block_owner[b]) != owner + 1) continue;
    for (uint64_t i = b * CG_BLOCK_SLOTS; i < (b + 1) * CG_BLOCK_SLOTS; i++) {
      uint64_t state = cg_get(&table.slot[i].state);
      cg_cas(&table.slot[i].state, &state, CG_SLOT_NEXT(state, 0xffff));
    }
    cg_put(&table.block_owner[b], 0);
  }
}

/* The other has a call in flight, in the slot that the first used or would use first. */
static void begin_other(uint64_t owner) {
  int64_t given = cg_block_take(&table, owner);
  promised(given >= 0, "there is no block for another process", what);
  cg_slot *last = &table.slot[given * (int64_t)CG_BLOCK_SLOTS + CG_BLOCK_SLOTS - 1];
  int taken = reserve(&in_flight, owner, last, generation());
  promised(taken == CG_TAKEN, "another process got no slot", what);
}

static void meanwhile(void) {
  const uint32_t crew[] = {0};
  cg_index x = cg_branches(&table);
  if (what == DROPPED || what == RENUMBERED || what == FORGOTTEN) drop(STOPPED);
  if (what == BURNED)
    for (uint64_t i = 0; i < CG_BLOCK_SLOTS; i++)
      if (CG_SLOT(cg_get(&table.slot[i].state)) > CG_SLOT_CLAIMED)
        cg_slot_end(&table.slot[i], cg_get(&table.slot[i].state));
  if (what == FORGOTTEN) { /* and the record is another branch's */
    promised(cg_forget_branch(&table, &x, &mine, 1), "a branch without calls was kept", what);
    open_record(3, LEASE, crew, 1);
  }
  if (what != NOTHING && what != BURNED) begin_other(what == RENUMBERED ? STOPPED : OTHER);
}

/* A call of the process that is stopped, at full length; how much it was charged. */
static uint64_t call(int act) {
  cg_hold hold;
  uint64_t known = generation();
  if (act == BEGUN) cg_fault_countdown = (int64_t)stops;
  int64_t block = cg_block_take(&table, STOPPED);
  if (block < 0) return 0;
  cg_slot *last = &table.slot[block * (int64_t)CG_BLOCK_SLOTS + CG_BLOCK_SLOTS - 1];
  int taken = reserve(&hold, STOPPED, last, known);
  if (act != BEGUN) cg_fault_countdown = (int64_t)stops;
  if (taken != CG_TAKEN) return 0;
  uint64_t cost = act == RELEASED ? 0 : COST;
  return cg_hold_settle(&table, &hold, cost) ? cost : 0;
}

/* What is settled was charged, what is missing was burned, and nothing is there twice. */
static void check(int act, uint64_t charged) {
  const cg_branch *branch = &table.branch[1];
  if (in_flight.slot) {
    promised(cg_hold_settle(&table, &in_flight, PRICE), "another's call was ended", act);
    charged = what == FORGOTTEN ? PRICE : charged + PRICE;
  }
  uint64_t left = CG_AMOUNT(cg_get(&branch->available));
  uint64_t settled = CG_SETTLED(cg_get(&branch->settled));
  promised(left + settled <= LEASE, "there is more than was granted", act);
  promised(left + settled + PRICE >= LEASE, "more is missing than one call held", act);
  promised(settled == charged, "charged and settled differ", act);
}

int main(void) {
  uint64_t all = 0;
  for (what = 0; what < MEANWHILE_COUNT; what++)
    for (int act = 0; act < ACT_COUNT; act++)
      for (stops = 1;; stops++) {
        cg_fault_countdown = 0;
        begin();
        uint64_t charged = call(act);
        if (cg_fault_countdown > 0) break; /* there are no more stores */
        cg_fault_countdown = 0;
        check(act, charged);
        all++;
      }
  printf("stops %llu\n", (unsigned long long)all);
  return 0;
}
