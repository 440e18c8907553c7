/* Sums over a damaged table, whose words say anything, are modulo 2^64; none overflows.
 *
 * A look says the same of a record by both ways, and never that more is burned than is missing;
 * what settles or comes back leaves a record its generations. To be compiled with UBSan. */
#include <stdio.h>
#include <stdlib.h>

#include "credit.h"
#include "lease_snapshot.h"

enum { RECORD = 5, GENERATION = 3 };
static const uint64_t WORDS[] = {0, 1, INT64_MAX - 1, INT64_MAX, 1ull << 63, UINT64_MAX - 1,
                                 UINT64_MAX};
enum { COUNT = sizeof WORDS / sizeof *WORDS };

static void must(int is_so, const char *what, int line) {
  if (is_so) return;
  fprintf(stderr, "line %d: %s\n", line, what);
  exit(1);
}
#define MUST(condition) must(condition, #condition, __LINE__)

static void fill(cg_branch *branch, uint64_t granted, uint64_t given_back, uint64_t settled) {
  cg_put(&branch->granted, granted);
  cg_put(&branch->given_back, given_back);
  cg_put(&branch->available, CG_TAG_AVAILABLE(GENERATION) | (settled & CG_AMOUNT_MAX));
  cg_put(&branch->settled, CG_TAG_SETTLED(GENERATION) | (settled & CG_SETTLED_MAX));
}

static void look(const cg_table *t, uint64_t *sums, uint64_t known) {
  cg_seen one, other;
  const cg_branch *branch = &t->branch[RECORD];
  uint64_t missing = cg_get(&branch->granted) - cg_get(&branch->given_back) -
                     CG_AMOUNT(cg_get(&branch->available)) - CG_SETTLED(cg_get(&branch->settled));
  uint64_t most = missing > INT64_MAX ? 0 : missing;
  memset(sums, 0, 2 * t->branches * sizeof *sums);
  cg_sum_slots(t, sums);
  cg_snapshot(t, RECORD, known, &one);
  cg_snapshot_after(t, RECORD, sums, known, &other);
  MUST(one.burned == other.burned && one.reserved == other.reserved && one.loose == other.loose);
  MUST(one.burned <= most);
  MUST(one.burned >= (known < most ? known : most));
}

static void come_back(cg_table *t, uint64_t amount) {
  cg_branch *branch = &t->branch[RECORD];
  cg_slot *slot = &t->slot[1];
  cg_hold hold = {slot, CG_SLOT_HELD, RECORD, GENERATION, amount};
  cg_unspend(t, branch, GENERATION, amount);
  MUST(CG_SAME_SETTLED(cg_get(&branch->settled), GENERATION));
  cg_put(&slot->state, hold.state);
  MUST(cg_hold_settle(t, &hold, amount));
  MUST(CG_SAME_SETTLED(cg_get(&branch->settled), GENERATION));
  MUST(CG_SAME_AVAILABLE(cg_get(&branch->available), GENERATION));
}

int main(void) {
  cg_table t;
  uint64_t sums[2 * 64], bytes = cg_map(&t, NULL, 64, 64, 64, 2, 1024);
  void *memory = aligned_alloc(4096, bytes);
  if (!memory) return 2;
  memset(memory, 0, bytes);
  cg_map(&t, memory, 64, 64, 64, 2, 1024);
  cg_put(&t.block_owner[0], 1);
  cg_put(&t.slot[0].state, CG_SLOT_HELD);
  cg_put(&t.slot[0].branch, RECORD);
  cg_put(&t.slot[0].tool, CG_LOOSE);
  for (int a = 0; a < COUNT; a++)
    for (int b = 0; b < COUNT; b++)
      for (int c = 0; c < COUNT; c++)
        for (int d = 0; d < COUNT; d++)
          for (int e = 0; e < COUNT; e++) {
            fill(&t.branch[RECORD], WORDS[a], WORDS[b], WORDS[c]);
            cg_put(&t.slot[0].amount, WORDS[d]);
            look(&t, sums, WORDS[e]);
            come_back(&t, WORDS[d]);
          }
  free(memory);
  return 0;
}
