/* The counts of a branch under processes that are killed between any two stores, and that race.
 *
 * First, a process notes calls and is killed at each of its stores in turn; another one goes on. No
 * count may be off by more than the one call that was under way. Then processes note calls of their own at
 * the same time, and some are killed: each count is exact, but for one call for each kill.
 * Usage: branch_activity SECONDS SEED; exits 1 with the first broken promise. */
#define _GNU_SOURCE
#define CREWGATE_FAULTS
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "branch_activity.h"
#include "race.h"

enum { CALLS = 24, PAUSE_MS = 600000, WORKERS = 5, EACH = 12000 };

typedef struct {
  cg_word done, killed;
  cg_word by_worker[WORKERS];
} shared;

static cg_table table;
static shared *all;

/* Equal calls with equal answers, but for the first three, which are others. */
static cg_answered call_at(uint64_t number) {
  uint64_t call = 0x0123456789abcdefull + (number < 3 ? number << 56 : 9ull << 56);
  return (cg_answered){.call = call, .answer = 7, .started_ms = 10 * number + 1000,
                       .ended_ms = 10 * number + 1001, .cost = 5, .is_failed = 1};
}

static cg_activity *activity(uint64_t ms) { return cg_activity_of(&table, 0, 1, ms); }

static void note_from(uint64_t first) {
  for (uint64_t number = first; number < CALLS; number++) {
    cg_answered found = call_at(number);
    cg_note_answer(activity(found.ended_ms), &found, PAUSE_MS, 1, 2, 1);
    cg_increment(&all->done);
  }
}

static pid_t begin(void (*work)(uint64_t), uint64_t argument, int64_t fault) {
  pid_t child = fork();
  if (child < 0) exit(2);
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  cg_arm_fault(fault);
  work(argument);
  exit(0);
}

static int is_near(uint64_t found, uint64_t expected, uint64_t most) {
  return found <= expected && expected - found <= most;
}

/* Kills at every store; says at how many, or exits. */
static uint64_t kill_everywhere(void) {
  for (int64_t fault = 1;; fault++) {
    uint64_t counts[CG_RULE_KINDS];
    int status;
    memset(table.activity, 0, sizeof *table.activity);
    cg_put(&all->done, 0);
    waitpid(begin(note_from, 0, fault), &status, 0);
    if (WIFEXITED(status)) return (uint64_t)fault - 1;
    uint64_t done = cg_get(&all->done);
    note_from(done + 1);
    cg_answered last = call_at(CALLS);
    cg_read_activity(activity(last.started_ms), last.call, last.started_ms, PAUSE_MS, counts);
    uint64_t equal = CALLS - 3 + 1; /* with the call that would be next */
    if (!is_near(counts[CG_SAME_CALL], equal, 1) || !is_near(counts[CG_SAME_ANSWER], equal, 1) ||
        !is_near(counts[CG_SAME_FAILURE], equal, 1) ||
        !is_near(counts[CG_CALLS_PER_MINUTE], CALLS + 1, 1) ||
        !is_near(counts[CG_CREDITS_PER_MINUTE], 5 * CALLS, 5)) {
      printf("broken: killed at store %lld of call %llu, the counts are %llu %llu %llu %llu %llu\n",
             (long long)fault, (unsigned long long)done, (unsigned long long)counts[CG_SAME_CALL],
             (unsigned long long)counts[CG_SAME_ANSWER],
             (unsigned long long)counts[CG_SAME_FAILURE],
             (unsigned long long)counts[CG_CALLS_PER_MINUTE],
             (unsigned long long)counts[CG_CREDITS_PER_MINUTE]);
      exit(1);
    }
  }
}

static void race(uint64_t worker) {
  while (cg_get(&all->by_worker[worker]) < EACH) {
    uint64_t number = cg_get(&all->by_worker[worker]);
    cg_answered found = {.call = (worker + 3) << 56 | 1, .answer = worker + 1,
                         .started_ms = 2 * number + 1000, .ended_ms = 2 * number + 1001};
    cg_note_answer(activity(1000), &found, PAUSE_MS, 1, 2, 1);
    cg_increment(&all->by_worker[worker]);
  }
}

static int is_running(const pid_t *pids) {
  for (int at = 0; at < WORKERS; at++)
    if (pids[at]) return 1;
  return 0;
}

static int race_and_kill(uint64_t random, uint64_t most) {
  pid_t pids[WORKERS];
  uint64_t killed[WORKERS] = {0}, sum = 0;
  memset(table.activity, 0, sizeof *table.activity);
  memset(all, 0, sizeof *all);
  for (uint64_t at = 0; at < WORKERS; at++) { /* all are known, so no call is progress any more */
    cg_answered found = {.call = (at + 3) << 56 | 1, .started_ms = 1, .ended_ms = 1 + at};
    cg_note_answer(activity(1000), &found, PAUSE_MS, 1, 2, 1);
  }
  for (uint64_t at = 0; at < WORKERS; at++) pids[at] = begin(race, at, 0);
  while (is_running(pids)) {
    uint64_t at = next(&random) % WORKERS;
    nap((long)(next(&random) % 10000));
    if (pids[at] && sum < most) kill(pids[at], SIGKILL), sum++;
    for (at = 0; at < WORKERS; at++) {
      int status;
      if (!pids[at] || waitpid(pids[at], &status, WNOHANG) != pids[at]) continue;
      killed[at] += WIFSIGNALED(status);
      pids[at] = WIFSIGNALED(status) ? begin(race, at, 0) : 0;
    }
  }
  for (uint64_t at = 0; at < WORKERS; at++) {
    uint64_t call = (at + 3) << 56 | 1;
    cg_series *own = cg_find_series(activity(1000), call);
    uint64_t found = own ? CG_COUNT(cg_get(&own->counts), CG_EQUAL_CALLS) : 0;
    /* The first call was before the race. A call may be counted and not have been marked as done. */
    if (found + killed[at] < EACH || found > EACH + 1 + killed[at])
      return printf("broken: %llu of %d equal calls are counted after %llu kills\n",
                    (unsigned long long)found, EACH, (unsigned long long)killed[at]), 1;
  }
  printf("%d calls of each of %d processes, %llu kills\n", EACH, WORKERS, (unsigned long long)sum);
  return 0;
}

int main(int count, char **arguments) {
  uint64_t most = count > 1 ? 200 * strtoull(arguments[1], NULL, 10) : 200;
  uint64_t random = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
  uint64_t bytes = cg_map(&table, NULL, 64, 64, 64, 2, 1024);
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || all == MAP_FAILED) return 2;
  cg_map(&table, memory, 64, 64, 64, 2, 1024);
  uint64_t stores = kill_everywhere();
  printf("killed at each of %llu stores\n", (unsigned long long)stores);
  fflush(stdout);
  if (stores < CALLS) return printf("broken: too few stores\n"), 1;
  return race_and_kill(random, most);
}
