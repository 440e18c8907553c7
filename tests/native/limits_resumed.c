/* A process that is stopped before any store of a call with limits, and goes on later.
 *
 * While it stands still, the agent drops its attachment, and another process takes all places and
 * all calls of the bucket; or the agent gives the words to another limit, which another process then
 * counts in. Whatever the first does when it goes on: the other's places stay its own, its bucket
 * stays as it was, and in the end no place is lost. Built with CREWGATE_FAULTS, whose kill is
 * replaced by that meanwhile. Prints how many stops there were.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void meanwhile(void);
#define kill(process, signal) meanwhile()
#include "call_limits.h"
#include "credit.h"
#undef kill

enum { SIZE = 64, STOPPED = 0, OTHER = 1, PLACES = 2, BURST = 3, INTERVAL = 1000 };
enum { NOTHING, DROPPED, GIVEN_AWAY, MEANWHILE_COUNT };
enum { ENDS, IS_UNDONE, ACT_COUNT };
static const uint64_t BEGAN = 1000000, LATER = 5000000;

static cg_table table;
static uint8_t *memory;
static int what;
static uint64_t stops, kept;
static cg_slot *others[PLACES];
static const uint32_t rate_cell[] = {3}, place_cell[] = {4};
static const cg_limit rate = {INTERVAL, (BURST - 1) * INTERVAL, 0, CG_OF_CELLS, 0, rate_cell};
static const cg_limit few = {0, 0, PLACES, CG_OF_CELLS, 0, place_cell};

static void promised(int is_kept, const char *promise, int act) {
  if (is_kept) return;
  printf("broken: %s (act %d, store %llu, meanwhile %d)\n", promise, act,
         (unsigned long long)stops, what);
  exit(1);
}

static cg_word *bucket(void) { return cg_limit_word(&table, &rate, 0, 0); }

static void begin(void) {
  uint64_t bytes = cg_map(&table, NULL, SIZE, SIZE, 2 * CG_BLOCK_SLOTS, 2, 1024);
  if (!memory) memory = aligned_alloc(4096, bytes);
  promised(memory != NULL, "no memory", 0);
  memset(memory, 0, bytes);
  cg_map(&table, memory, SIZE, SIZE, 2 * CG_BLOCK_SLOTS, 2, 1024);
  cg_give_limit_word(&table, rate_cell[0], 7, BEGAN);
  cg_give_limit_word(&table, place_cell[0], 8, BEGAN);
  memset(others, 0, sizeof others);
}

static cg_slot *claimed(cg_hold *hold, uint64_t owner, int64_t block, int at) {
  cg_slot attribution = {0};
  *hold = (cg_hold){.slot = &table.slot[block * (int64_t)CG_BLOCK_SLOTS + at]};
  return cg_claim_slot(hold, owner, UINT64_MAX, &attribution) == CG_TAKEN ? hold->slot : NULL;
}

static cg_word *placed(const cg_hold *hold) {
  uint64_t number = (uint64_t)(hold->slot - table.slot);
  return cg_take_place(&table, &few, 0, cg_place_of(number, hold->state), number);
}

/* The other takes all that there is, at the time `now`. */
static void begin_other(uint64_t now) {
  cg_hold hold;
  cg_limit_taken taken;
  int64_t block = cg_block_take(&table, OTHER);
  promised(block >= 0, "there is no block for another process", what);
  for (int at = 0; at < PLACES; at++) {
    others[at] = claimed(&hold, OTHER, block, at);
    promised(others[at] && placed(&hold), "a dropped process has kept a place", what);
  }
  while (cg_rate_take(bucket(), &rate, now, &taken) == 0) continue;
  kept = cg_get(bucket());
}

static void meanwhile(void) {
  if (what == NOTHING) return;
  if (what == DROPPED) {
    for (uint64_t i = 0; i < table.reservations; i++) {
      uint64_t state = cg_get(&table.slot[i].state);
      if (cg_get(&table.block_owner[i / CG_BLOCK_SLOTS]) == STOPPED + 1)
        cg_cas(&table.slot[i].state, &state, CG_SLOT_NEXT(state, 0xffff));
    }
    for (uint64_t b = 0; b < 2; b++)
      if (cg_get(&table.block_owner[b]) == STOPPED + 1) cg_put(&table.block_owner[b], 0);
  } else {
    cg_give_limit_word(&table, rate_cell[0], 17, LATER);
    cg_give_limit_word(&table, place_cell[0], 18, LATER);
  }
  begin_other(what == DROPPED ? BEGAN : LATER);
}

/* A call of the process that is stopped, as permit.pyx makes it. */
static void call(int act) {
  cg_hold hold;
  cg_limit_taken taken = {0};
  cg_fault_countdown = (int64_t)stops;
  int64_t block = cg_block_take(&table, STOPPED);
  if (block < 0 || !claimed(&hold, STOPPED, block, CG_BLOCK_SLOTS - 1)) return;
  cg_word *place = placed(&hold);
  if (place) cg_rate_take(bucket(), &rate, BEGAN, &taken);
  if (place && act == IS_UNDONE) {
    cg_limit_taken own = {place, cg_place_of((uint64_t)(hold.slot - table.slot), hold.state), 0};
    cg_undo_taken(&own, BEGAN);
  }
  cg_slot_end(hold.slot, hold.state);
}

static void check(int act) {
  if (what != NOTHING) {
    promised(cg_get(bucket()) == kept, "another's bucket has changed", act);
    for (int at = 0; at < PLACES; at++) {
      uint64_t state = cg_get(&others[at]->state);
      uint64_t place = cg_place_of((uint64_t)(others[at] - table.slot), state);
      int found = 0;
      for (uint64_t i = 0; i < PLACES; i++)
        found += cg_get(cg_limit_word(&table, &few, 0, i)) == place;
      promised(found == 1, "another's place was taken", act);
      cg_slot_end(others[at], state);
    }
  }
  for (uint64_t at = 0; at < PLACES; at++) {
    cg_slot *slot = &table.slot[CG_BLOCK_SLOTS + at];
    cg_put(&slot->state, 5 << 3 | CG_SLOT_CLAIMED);
    cg_hold hold = {.slot = slot, .state = cg_get(&slot->state)};
    promised(placed(&hold) != NULL, "a place is lost", act);
  }
  promised(!cg_take_place(&table, &few, 0, CG_PLACE, 0), "there is a place too many", act);
}

int main(void) {
  uint64_t all = 0;
  for (what = 0; what < MEANWHILE_COUNT; what++)
    for (int act = 0; act < ACT_COUNT; act++)
      for (stops = 1;; stops++) {
        cg_fault_countdown = 0;
        begin();
        call(act);
        if (cg_fault_countdown > 0) break; /* there are no more stores */
        cg_fault_countdown = 0;
        check(act);
        all++;
      }
  printf("stops %llu\n", (unsigned long long)all);
  return 0;
}
