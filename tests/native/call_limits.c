/* Limits on calls under processes that count in them, and are killed or stopped at any instruction.
 *
 * A bucket never gives a call twice, and a kill costs it one call at most. Two calls never have one
 * place, and no place is lost. Usage: call_limits SECONDS SEED; prints what it did, exits 1 with the
 * first broken promise. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "call_limits.h"
#include "credit.h"
#include "race.h"

enum { WORKERS = 3, PLACES = 5, BURST = 1000, INTERVAL = 100, START = 1 << 20, CELL = 7 };

typedef struct {
  cg_word now, admitted, calls;
  cg_word holder[PLACES]; /* the worker that has a place, plus 1 */
  cg_word held_twice;
} shared;

static cg_table table;
static shared *all;
static const uint32_t rate_cell[] = {CELL}, place_cell[] = {CELL + 1};
static const cg_limit rate = {INTERVAL, (BURST - 1) * INTERVAL, 0, CG_OF_CELLS, 0, rate_cell};
static const cg_limit few = {0, 0, PLACES, CG_OF_CELLS, 0, place_cell};

static void count_in_rate(uint64_t random) {
  cg_limit_taken taken;
  uint64_t now = cg_get(&all->now);
  if (cg_rate_take(cg_limit_word(&table, &rate, 0, 0), &rate, now, &taken)) return;
  if (random % 4 == 0 && cg_get(&all->now) == now) cg_undo_taken(&taken, now);
  else cg_increment(&all->admitted);
}

static void hold_place(uint64_t worker, uint64_t slot, uint64_t random) {
  cg_slot attribution = {0};
  cg_hold hold = {.slot = &table.slot[slot]};
  if (cg_claim_slot(&hold, worker, UINT64_MAX, &attribution) != CG_TAKEN) exit(3);
  uint64_t place = cg_place_of(slot, hold.state);
  cg_word *word = cg_take_place(&table, &few, 0, place, random);
  if (word != NULL) {
    cg_word *holder = &all->holder[word - cg_limit_word(&table, &few, 0, 0)];
    if (atomic_exchange(holder, worker + 1) != 0) cg_increment(&all->held_twice);
    for (uint64_t i = random % 64; i > 0; i--) count_in_rate(random + i);
    cg_increment(&all->calls);
    if (atomic_exchange(holder, 0) != worker + 1) cg_increment(&all->held_twice);
    if (random % 2) cg_undo_taken(&(cg_limit_taken){word, place, 0}, 0);
  }
  cg_slot_end(hold.slot, hold.state);
}

static void work(uint64_t worker, uint64_t random) {
  int64_t block = cg_block_take(&table, worker);
  if (block < 0) exit(4);
  for (uint64_t at = 0;; at++)
    hold_place(worker, (uint64_t)block * CG_BLOCK_SLOTS + at % CG_BLOCK_SLOTS, next(&random));
}

static pid_t begin(uint64_t worker, uint64_t seed) {
  pid_t child = fork();
  if (child < 0) exit(2);
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  work(worker, seed);
  exit(2);
}

/* As the agent does it for a process that has died. */
static int end(uint64_t worker, pid_t process) {
  int status;
  kill(process, SIGKILL);
  waitpid(process, &status, 0);
  for (int at = 0; at < PLACES; at++) {
    uint64_t holder = worker + 1;
    cg_cas(&all->holder[at], &holder, 0);
  }
  for (uint64_t block = 0; block < table.reservations / CG_BLOCK_SLOTS; block++) {
    if (cg_get(&table.block_owner[block]) != worker + 1) continue;
    for (uint64_t at = block * CG_BLOCK_SLOTS; at < (block + 1) * CG_BLOCK_SLOTS; at++) {
      uint64_t state = cg_get(&table.slot[at].state);
      cg_cas(&table.slot[at].state, &state, CG_SLOT_NEXT(state, 0xffff));
    }
    cg_put(&table.block_owner[block], 0);
  }
  return WIFSIGNALED(status);
}

int main(int count, char **arguments) {
  double seconds = count > 1 ? atof(arguments[1]) : 1;
  uint64_t random = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
  uint64_t kills = 0, stops = 0, bytes = cg_map(&table, NULL, 64, 64, 1024, 2, 1024);
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || all == MAP_FAILED) return 2;
  cg_map(&table, memory, 64, 64, 1024, 2, 1024);
  cg_put(&all->now, START);
  cg_word *bucket = cg_limit_word(&table, &rate, 0, 0);
  pid_t pids[WORKERS];
  for (uint64_t at = 0; at < WORKERS; at++) pids[at] = begin(at, next(&random));
  time_t until = time(NULL) + (time_t)(seconds + 1);
  while (time(NULL) < until || kills < 2 || stops < 2) {
    nap((long)(next(&random) % 300000));
    uint64_t now = cg_get(&all->now), at = next(&random) % WORKERS, kind = next(&random) % 64;
    /* Until the bucket is empty, the clock stands still: a full one would gain nothing. */
    if (cg_rate_wait(bucket, &rate, now)) cg_put(&all->now, now + next(&random) % (BURST * INTERVAL / 2));
    if (kind == 0) {
      if (!end(at, pids[at])) return printf("broken: a worker has ended by itself\n"), 1;
      pids[at] = begin(at, next(&random));
      kills++;
    } else if (kind == 1) {
      kill(pids[at], SIGSTOP);
      nap((long)(next(&random) % 3000000));
      kill(pids[at], SIGCONT);
      stops++;
    }
  }
  for (uint64_t at = 0; at < WORKERS; at++, kills++)
    if (!end(at, pids[at])) return printf("broken: a worker has ended by itself\n"), 1;
  uint64_t admitted = cg_get(&all->admitted), now = cg_get(&all->now);
  for (cg_limit_taken taken; cg_rate_take(bucket, &rate, now, &taken) == 0;) admitted++;
  uint64_t allowed = BURST + (now - START) / INTERVAL;
  printf("admitted %llu of %llu, calls %llu, kills %llu, stops %llu\n",
         (unsigned long long)admitted, (unsigned long long)allowed,
         (unsigned long long)cg_get(&all->calls), (unsigned long long)kills,
         (unsigned long long)stops);
  if (admitted > allowed) return printf("broken: a bucket has given a call twice\n"), 1;
  if (admitted + kills < allowed) return printf("broken: a bucket has lost calls\n"), 1;
  if (cg_get(&all->held_twice)) return printf("broken: two calls had one place\n"), 1;
  cg_word *last = bucket;
  for (uint64_t at = 0; at < PLACES; at++) {
    uint64_t state = cg_get(&table.slot[at].state) | CG_SLOT_CLAIMED;
    cg_put(&table.slot[at].state, state);
    last = cg_take_place(&table, &few, 0, cg_place_of(at, state), 0);
    if (last == NULL) return printf("broken: a place is lost\n"), 1;
  }
  if (cg_take_place(&table, &few, 0, CG_PLACE, 0)) return printf("broken: a place too many\n"), 1;
  return cg_get(&all->calls) > 1000 ? 0 : 1;
}
