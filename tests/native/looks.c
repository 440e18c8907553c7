/* An agent that looks at a lease while others spend it, at every pace: what does it call burned?
 *
 * Two workers reserve, grow, settle and drop, an embedder spends and undoes; each goes on by one
 * store at a time, at random moments between any two reads of the look. However that falls: what
 * the look calls surely burned is never more than what was dropped, and all of it once they rest.
 * Built with CREWGATE_FAULTS, whose kill is replaced by the others' turn. Usage: looks SEED; prints
 * what it did, exits 1 with the first broken promise.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

static void stopped(void);
#define kill(process, signal) stopped()
#include "layout.h"
#undef kill

static uint64_t read_word(const cg_word *word);
static uint64_t layout_get(const cg_word *word) { return cg_get(word); }
#define cg_get read_word
#include "reclaim.h"
#include "lease_snapshot.h"
#include "opened.h"
#include "race.h"

enum { SIZE = 64, WORKERS = 2, SPENDERS = WORKERS + 1, HELD = 4, STACK = 1 << 16 };
enum { ROUNDS = 1000, LOOKS = 50 };
static const uint64_t NEVER = UINT64_MAX, LEASE = 60;

typedef struct {
  ucontext_t context;
  cg_hold hold[HELD]; /* an embedder's have no slot: what it spent and can undo */
  int busy;           /* in the middle of a call */
} spender;

static cg_table table;
static cg_private mine;
static uint8_t *memory;
static ucontext_t agent;
static spender spenders[SPENDERS], *running; /* null: the agent */
static int looking, pace;                    /* how often others go on between two reads, of 256 */
static uint64_t dice, dropped, seed;

static void promised(int kept, const char *what, uint64_t said) {
  if (kept) return;
  printf("broken: %s: %llu, dropped %llu (seed %llu)\n", what, (unsigned long long)said,
         (unsigned long long)dropped, (unsigned long long)seed);
  exit(1);
}

/* -- turns ------------------------------------------------------------------------------------- */

static void go_on(spender *who) {
  running = who;
  cg_fault_countdown = 1;
  swapcontext(&agent, &who->context);
  cg_fault_countdown = 0;
  running = NULL;
}

/* Before a store of whoever is running: it stands still there until its next turn. */
static void stopped(void) {
  spender *who = running;
  swapcontext(&who->context, &agent);
  cg_fault_countdown = 1;
}

static uint64_t read_word(const cg_word *word) {
  while (looking && !running && (int)(next(&dice) % 256) < pace) go_on(&spenders[next(&dice) % SPENDERS]);
  return layout_get(word);
}

/* -- spenders: as permit.pyx does it ----------------------------------------------------------- */

static uint64_t generation(void) { return CG_GENERATION(layout_get(&table.branch[1].life)); }

static void begin_call(uint64_t owner, cg_hold *hold, cg_slot *slot) {
  cg_slot attribution = {.tool = next(&dice) % 2 ? CG_LOOSE : 0};
  uint64_t left;
  *hold = (cg_hold){slot, 0, 1, generation(), 1 + next(&dice) % 9};
  int taken = slot ? cg_reserve(&table, hold, owner, NEVER, &attribution, &left)
                   : cg_spend(&table.branch[1], hold->generation, hold->amount, &left);
  if (taken != CG_TAKEN) hold->generation = 0;
}

static void end_call(cg_hold *hold) {
  uint64_t left, back = next(&dice) % 3 ? 0 : 1 + next(&dice) % hold->amount;
  if (hold->slot && next(&dice) % 3 == 0) {
    cg_hold_grow(&table, hold, 1 + next(&dice) % 9, &left);
    return;
  }
  if (!hold->slot) {
    if (back) cg_unspend(&table, &table.branch[1], hold->generation, back);
  } else if (next(&dice) % 64 == 0) {
    dropped += hold->amount;
    cg_slot_end(hold->slot, hold->state);
  } else {
    cg_hold_settle(&table, hold, hold->amount - back);
  }
  hold->generation = 0;
}

static void spend(int who) {
  for (;;) {
    int at = (int)(next(&dice) % HELD);
    cg_hold *hold = &spenders[who].hold[at];
    /* The first and the last slots of its block: a call moves far from one to the other. */
    uint64_t slot = (uint64_t)who * CG_BLOCK_SLOTS + (uint64_t)(at % 2 ? 63 - at : at);
    spenders[who].busy = 1;
    if (hold->generation)
      end_call(hold);
    else
      begin_call((uint64_t)who, hold, who < WORKERS ? &table.slot[slot] : NULL);
    spenders[who].busy = 0;
    cg_fault(); /* a turn ends here too */
  }
}

/* -- the agent --------------------------------------------------------------------------------- */

/* A crew (record 0) with one branch (record 1), and three processes. */
static void begin(void) {
  static char stacks[SPENDERS][STACK];
  const uint32_t crew[] = {0};
  uint64_t bytes = cg_map(&table, NULL, SIZE, SIZE, WORKERS * CG_BLOCK_SLOTS, 2, 1024);
  if (!memory) memory = aligned_alloc(4096, bytes);
  promised(memory != NULL, "no memory", bytes);
  memset(memory, 0, bytes);
  *(cg_header *)memory = (cg_header){.branches = SIZE, .revocations = SIZE, .attachments = 2,
                                     .reservations = WORKERS * CG_BLOCK_SLOTS};
  cg_map(&table, memory, SIZE, SIZE, WORKERS * CG_BLOCK_SLOTS, 2, 1024);
  cg_private_free(&mine);
  promised(cg_count(&table, &mine), "no memory", 0);
  opened(&table, &mine, 1, NULL, 0);
  opened(&table, &mine, 2, crew, 1);
  dropped = 0;
  memset(spenders, 0, sizeof spenders);
  for (int who = 0; who < SPENDERS; who++) {
    if (who < WORKERS) promised(cg_block_take(&table, (uint64_t)who) == who, "no slots", 0);
    getcontext(&spenders[who].context);
    spenders[who].context.uc_stack.ss_sp = stacks[who];
    spenders[who].context.uc_stack.ss_size = STACK;
    makecontext(&spenders[who].context, (void (*)(void))spend, 1, who);
  }
}

static void fill(void) {
  cg_branch *branch = &table.branch[1];
  if (next(&dice) % 8 == 0) cg_take_back(&table, branch, next(&dice) % LEASE);
  if (next(&dice) % 4 || CG_AMOUNT(cg_get(&branch->available)) > LEASE) return;
  cg_begin_draw(branch, LEASE);
  cg_grant(&table, branch, LEASE);
}

static uint64_t look(uint64_t known, int at_pace) {
  cg_seen seen;
  uint64_t sums[2 * SIZE] = {0};
  int is_scan = next(&dice) % 2;
  pace = at_pace;
  looking = 1;
  if (is_scan) cg_sum_slots(&table, sums);
  if (is_scan)
    cg_snapshot_after(&table, 1, sums, known, &seen);
  else
    cg_snapshot(&table, 1, known, &seen);
  looking = 0;
  return seen.burned;
}

static void rest(void) {
  for (int who = 0; who < SPENDERS; who++)
    while (spenders[who].busy) go_on(&spenders[who]);
}

int main(int argc, char **argv) {
  uint64_t looks = 0, while_spent = 0;
  if (argc != 2) return 2;
  dice = seed = strtoull(argv[1], NULL, 10);
  for (int round = 0; round < ROUNDS; round++) {
    static const int PACES[] = {1, 4, 16, 64, 160};
    begin();
    uint64_t known = 0;
    for (int at = 0; at < LOOKS; at++, looks++) {
      fill();
      for (uint64_t turns = next(&dice) % 40; turns > 0; turns--) go_on(&spenders[next(&dice) % SPENDERS]);
      uint64_t said = look(known, PACES[round % 5]);
      promised(said <= dropped, "more is said to be burned than was dropped", said);
      while_spent += said > known;
      known = said;
    }
    rest();
    promised(look(known, 0) == dropped, "what is burned is not seen when all rest", known);
  }
  printf("looks %llu found %llu\n", (unsigned long long)looks, (unsigned long long)while_spent);
  return 0;
}
