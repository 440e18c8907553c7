/* The table under one agent and several processes' worth of threads, for ThreadSanitizer.
 *
 * The agent revokes and forgets, opens, grants, takes back, burns, seals and compacts without pause
 * in a table so small that entries move all the time; readers look keys up, spenders reserve and
 * settle. Afterwards nothing that was revoked was missed, nothing lasting was not found, and every
 * micro-credit is where it must be. Usage: stress SECONDS SEED; prints what it did, exits 1 with
 * the first broken promise.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "reclaim.h"
#include "race.h"

enum { READERS = 2, SPENDERS = 2, LASTING = 16, PASSING = 48, KEYS = LASTING + PASSING };
enum { BRANCHES = 128, REVOCATIONS = 128, SLOTS = 512, ATTACHMENTS = 8, CHURN = 120 };
static const uint64_t NEVER = UINT64_MAX, LEASE = 5000;

typedef struct {
  uint64_t key[2];
  cg_word promise; /* odd: the agent has published it and not begun to forget it */
} known;

static cg_table table;
static cg_private mine;
static known revoked[CHURN], branches[KEYS]; /* the first LASTING are never forgotten */
static uint64_t burned[KEYS], charged[SPENDERS][KEYS];
static uint32_t above[2]; /* record numbers: crew, root */
static cg_word stop, lookups, calls;

static void promised(int kept, const char *what, uint64_t which) {
  if (kept) return;
  printf("broken: %s (%llu)\n", what, (unsigned long long)which);
  exit(1);
}

/* -- readers ----------------------------------------------------------------------------------- */

/* A key whose promise was the same, and odd, before and after a look must have been found. */
static void *read_keys(void *seed) {
  uint64_t random = (uint64_t)(uintptr_t)seed, looked = 0;
  uint64_t clear[CHURN] = {0}; /* as each token has it */
  cg_index x = cg_branches(&table);
  for (; !cg_get(&stop); looked++) {
    uint64_t at = next(&random) % CHURN, before = cg_get(&revoked[at].promise);
    int found = cg_is_token_revoked(&table, revoked[at].key, 1, 1, &clear[at]);
    if (before % 2 && cg_get(&revoked[at].promise) == before)
      promised(found, "a live revocation was missed", at);
    at = next(&random) % KEYS;
    before = cg_get(&branches[at].promise);
    int64_t number = cg_lookup(&table, &x, branches[at].key[0], branches[at].key[1]);
    if (before % 2 && cg_get(&branches[at].promise) == before)
      promised(number != CG_NONE, "a live branch was not found", at);
  }
  atomic_fetch_add(&lookups, looked);
  return NULL;
}

/* -- spenders: as gate.pyx does it ------------------------------------------------------------- */

static int find(const known *branch, cg_hold *hold) {
  cg_index x = cg_branches(&table);
  int64_t number = cg_lookup(&table, &x, branch->key[0], branch->key[1]);
  if (number < 0) return 0;
  hold->branch = (uint64_t)number;
  hold->generation = CG_GENERATION(cg_get(&table.branch[number].life));
  /* The gate asks for the generation after the key: the record may be another one's by now. */
  return cg_holds(&x, (uint64_t)number, branch->key[0], branch->key[1]);
}

/* Embedded: taken and settled at once. What was charged. */
static uint64_t pay(const cg_hold *hold) {
  cg_branch *branch = &table.branch[hold->branch];
  uint64_t left;
  if (cg_spend(branch, hold->generation, hold->amount, &left) != CG_TAKEN) return 0;
  promised(left < CG_AMOUNT_MAX, "more was left than a lease can hold", left);
  return hold->amount;
}

/* Gateway: reserved and settled at `cost`. What was charged. */
static uint64_t reserve(cg_hold *hold, uint64_t owner, uint64_t cost) {
  cg_slot attribution;
  uint64_t left;
  memset(&attribution, 0, sizeof attribution);
  if (cg_reserve(&table, hold, owner, NEVER, &attribution, &left) != CG_TAKEN) return 0;
  return cg_hold_settle(&table, hold, cost) ? cost : 0;
}

static void *spend(void *number) {
  uint64_t who = (uint64_t)(uintptr_t)number, random = who * 77 + 5, made = 0;
  int64_t block = cg_block_take(&table, who);
  promised(block >= 0, "no block of slots for a spender", who);
  for (; !cg_get(&stop); made++) {
    uint64_t at = next(&random) % KEYS;
    cg_hold hold = {.amount = 1 + next(&random) % 9};
    if (!find(&branches[at], &hold)) continue;
    hold.slot = &table.slot[(uint64_t)block * CG_BLOCK_SLOTS + made % CG_BLOCK_SLOTS];
    /* A refund to a sealed branch is lost to it, and rightly counts as burned: only lasting
     * branches get refunds here, so that the sums stay exact. */
    uint64_t cost = at < LASTING ? next(&random) % (hold.amount + 1) : hold.amount;
    charged[who][at] += next(&random) % 2 ? pay(&hold) : reserve(&hold, who, cost);
  }
  atomic_fetch_add(&calls, made);
  return NULL;
}

/* -- the agent --------------------------------------------------------------------------------- */

static void keep(known *what) { cg_put(&what->promise, cg_get(&what->promise) + 1); }

static void enter_revocation(known *what) {
  cg_index x = cg_revocations(&table);
  if (mine.revocations_free == 0) return;
  uint32_t number = mine.free_revocations[mine.revocations_free - 1];
  cg_write_revocation(&table.revocation[number], what->key, NEVER, NEVER, 0, NEVER, 1);
  promised(cg_enter(&table, &x, mine.free_revocations, &mine.revocations_free) >= 0,
           "the index of revocations is full", number);
  cg_increment(&table.header->revocation_generation);
  keep(what);
}

static void forget_revocation(known *what) {
  cg_index x = cg_revocations(&table);
  uint64_t crews[REVOCATIONS];
  int64_t number = cg_lookup(&table, &x, what->key[0], what->key[1]);
  promised(number >= 0, "the agent itself missed a revocation", (uint64_t)number);
  keep(what); /* even from here on: it may be missed */
  cg_put(&table.revocation[number].expires, 0);
  cg_put(&table.revocation[number].held_for, 0);
  uint64_t gone = cg_forget_revocations(&table, &mine, 10, 10, REVOCATIONS, crews);
  promised(gone == 1, "an expired revocation stayed", gone);
}

static uint32_t open_record(known *what, uint64_t parents) {
  cg_index x = cg_branches(&table);
  const uint64_t path[2] = {7, 7};
  uint32_t number = mine.free_branches[mine.branches_free - 1];
  cg_open(&table, number, what->key, path, above, parents, &(cg_lease_report){0});
  cg_amend(&table.branch[number], NEVER, 1, NEVER, 0, NEVER);
  cg_opened(&table.branch[number]);
  promised(cg_enter(&table, &x, mine.free_branches, &mine.branches_free) >= 0,
           "the index of branches is full", number);
  for (uint64_t i = 0; i < parents; i++) mine.children[above[i]]++;
  return number;
}

static void grant(uint64_t number) {
  cg_branch *branch = &table.branch[number];
  if (CG_AMOUNT(cg_get(&branch->available)) > LEASE) return;
  cg_begin_draw(branch, LEASE);
  cg_grant(&table, branch, LEASE);
}

/* Ends a reservation past its deadline, as `burn_overdue` does, and notes whose credit it was. */
static void burn(uint64_t at) {
  cg_slot *slot = &table.slot[at];
  uint64_t state = cg_get(&slot->state), number = cg_get(&slot->branch);
  if (CG_SLOT(state) != CG_SLOT_HELD || number >= BRANCHES) return;
  uint64_t amount = cg_get(&slot->amount), low = cg_get(&table.branch[number].key[0]);
  if (!cg_slot_end(slot, state)) return;
  for (uint64_t key = 0; key < KEYS; key++)
    if (branches[key].key[0] == low) burned[key] += amount;
}

static int64_t number_of(const known *what) {
  cg_index x = cg_branches(&table);
  return cg_lookup(&table, &x, what->key[0], what->key[1]);
}

/* Seals a passing branch and forgets it if no reservation refers to it. */
static void forget_branch(known *what, uint64_t number) {
  cg_index x = cg_branches(&table);
  if (cg_get(&what->promise) % 2) keep(what);
  cg_forget_branch(&table, &x, &mine, number);
}

/* Record numbers of sealed branches are found by their keys: the index knows live ones only. */
static int64_t sealed(const known *what) {
  for (uint64_t number = 0; number < BRANCHES; number++)
    if (CG_STATE(cg_get(&table.branch[number].life)) == CG_DYING &&
        cg_get(&table.branch[number].key[0]) == what->key[0])
      return (int64_t)number;
  return CG_NONE;
}

static void turn_branch(uint64_t at, uint64_t dice) {
  known *what = &branches[at];
  int64_t number = number_of(what), dying = number < 0 ? sealed(what) : CG_NONE;
  if (dying >= 0) {
    forget_branch(what, (uint64_t)dying);
  } else if (number < 0) {
    number = open_record(what, 2);
    keep(what);
    grant((uint64_t)number);
  } else if (dice % 4 == 0) {
    cg_take_back(&table, &table.branch[number], dice % LEASE);
  } else if (at >= LASTING && dice % 4 == 1) {
    forget_branch(what, (uint64_t)number);
  } else {
    grant((uint64_t)number);
  }
}

/* Far more often than `cg_tidy` would: entries are to move under the readers' hands. */
static void compact(uint64_t turn) {
  cg_index x = turn % 2 ? cg_branches(&table) : cg_revocations(&table);
  if (turn % 8 < 2) cg_compact(&table, &x, 0);
}

static uint64_t own(uint64_t seconds, uint64_t random) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t turns = 0, end = (uint64_t)now.tv_sec + seconds;
  for (; (uint64_t)now.tv_sec < end; turns++) {
    known *what = &revoked[next(&random) % CHURN];
    if (cg_get(&what->promise) % 2 == 0)
      enter_revocation(what);
    else if (what >= &revoked[LASTING])
      forget_revocation(what);
    turn_branch(next(&random) % KEYS, next(&random));
    burn(next(&random) % SLOTS);
    compact(turns);
    if (turns % 64 == 0) clock_gettime(CLOCK_MONOTONIC, &now);
  }
  return turns;
}

/* -- before and after -------------------------------------------------------------------------- */

static void begin(uint64_t seed) {
  uint64_t bytes = cg_map(&table, NULL, BRANCHES, REVOCATIONS, SLOTS, ATTACHMENTS, 1024);
  void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  promised(base != MAP_FAILED, "no memory", bytes);
  *(cg_header *)base = (cg_header){.branches = BRANCHES, .revocations = REVOCATIONS,
                                   .reservations = SLOTS, .attachments = ATTACHMENTS,
                                   .seed = {next(&seed), next(&seed)}};
  cg_map(&table, base, BRANCHES, REVOCATIONS, SLOTS, ATTACHMENTS, 1024);
  promised(cg_count(&table, &mine), "no memory", 0);
  known crew = {{1, 1}, 0}, root = {{2, 2}, 0};
  above[0] = open_record(&crew, 0);
  above[1] = open_record(&root, 1);
  for (int at = 0; at < CHURN; at++)
    for (int half = 0; half < 2; half++) revoked[at].key[half] = next(&seed);
  for (int at = 0; at < KEYS; at++)
    for (int half = 0; half < 2; half++) branches[at].key[half] = next(&seed);
}

/* Consumed = granted - given back - what is left; it was charged to somebody, or burned. */
static void balance(void) {
  uint64_t passing = cg_get(&table.branch[above[0]].retired), paid = 0;
  promised(passing == cg_get(&table.branch[above[1]].retired), "ancestors disagree", passing);
  for (uint64_t at = 0; at < KEYS; at++) {
    int64_t number = number_of(&branches[at]);
    if (number < 0) number = sealed(&branches[at]);
    uint64_t spent = burned[at], consumed = 0;
    for (int who = 0; who < SPENDERS; who++) spent += charged[who][at];
    if (number >= 0) {
      const cg_branch *branch = &table.branch[number];
      consumed = cg_get(&branch->granted) - cg_get(&branch->given_back) -
                 CG_AMOUNT(cg_get(&branch->available));
      uint64_t settled = CG_SETTLED(cg_get(&branch->settled));
      promised(settled <= consumed, "more was settled than consumed", at);
      if (at < LASTING) promised(settled + burned[at] == consumed, "a lasting branch leaks", at);
    }
    if (at < LASTING) promised(consumed == spent, "a lasting branch and its spenders differ", at);
    if (at >= LASTING) passing += consumed, paid += spent;
  }
  promised(passing == paid, "the passing branches and their spenders differ", passing - paid);
}

int main(int argc, char **argv) {
  pthread_t threads[READERS + SPENDERS];
  if (argc != 3) return 2;
  begin(strtoull(argv[2], NULL, 10));
  for (uint64_t i = 0; i < READERS + SPENDERS; i++)
    pthread_create(&threads[i], NULL, i < READERS ? read_keys : spend,
                   (void *)(uintptr_t)(i < READERS ? i : i - READERS));
  uint64_t turns = own(strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10));
  cg_put(&stop, 1);
  for (int i = 0; i < READERS + SPENDERS; i++) pthread_join(threads[i], NULL);
  balance();
  uint64_t moves = 0;
  for (int i = 0; i < (int)CG_SHARDS; i++)
    moves += cg_get(&table.header->revocation_moves[i]) + cg_get(&table.header->branch_moves[i]);
  printf("turns %llu lookups %llu calls %llu moves %llu retired %llu\n", (unsigned long long)turns,
         (unsigned long long)cg_get(&lookups), (unsigned long long)cg_get(&calls),
         (unsigned long long)moves, (unsigned long long)cg_get(&table.branch[above[0]].retired));
  return 0;
}
