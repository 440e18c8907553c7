/* DPoP proofs under several processes that are killed and stopped, and an agent that is killed too.
 *
 * Each process remembers proofs of the windows of now and of earlier ones, the same proofs as the
 * others. Afterwards no proof was new twice. Usage: proofs SECONDS SEED; prints what it did, exits 1
 * with the first broken promise. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proof_table.h"
#include "race.h"

enum { WORKERS = 3, PROOFS = 1024, EACH = 40, WINDOWS = 1 << 16, BEHIND = 12 };

typedef struct {
  cg_word now; /* the number of the window of now */
  cg_word won[WINDOWS][EACH];
} shared;

static cg_table table;
static shared *all;

static void work(uint64_t random) {
  for (;;) {
    uint64_t window = cg_get(&all->now), proof = next(&random) % EACH;
    if (next(&random) % 4 == 0 && window > BEHIND) window -= next(&random) % BEHIND;
    uint64_t hash = window * 0x9e3779b97f4a7c15ull + proof;
    int found = cg_remember_proof(&table, CG_PROOF_BY_TIME, window * CG_PROOF_SECONDS, hash, proof);
    if (found == CG_PROOF_NEW) cg_increment(&all->won[window % WINDOWS][proof]);
  }
}

/* It moves time on, and opens windows as the agent does. */
static void be_agent(void) {
  for (;;) {
    uint64_t now = cg_get(&all->now);
    for (uint64_t ahead = 0; ahead < 7 && now + 1 >= ahead; ahead++)
      cg_open_proofs(&table, CG_PROOF_BY_TIME, (now + 1 - ahead) * CG_PROOF_SECONDS);
    nap(200000);
    cg_increment(&all->now);
  }
}

static pid_t begin(int is_agent, uint64_t seed) {
  pid_t child = fork();
  if (child < 0) exit(2);
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  is_agent ? be_agent() : work(seed);
  exit(2);
}

int main(int count, char **arguments) {
  double seconds = count > 1 ? atof(arguments[1]) : 1;
  uint64_t random = count > 2 ? strtoull(arguments[2], NULL, 10) : 1, kills = 0, won = 0;
  uint64_t bytes = cg_map(&table, NULL, 64, 64, 64, 2, PROOFS);
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || all == MAP_FAILED) return 2;
  cg_map(&table, memory, 64, 64, 64, 2, PROOFS);
  cg_put(&all->now, 1);
  pid_t pids[WORKERS + 1];
  for (int at = 0; at <= WORKERS; at++) pids[at] = begin(at == WORKERS, next(&random));
  time_t until = time(NULL) + (time_t)(seconds + 1);
  while (time(NULL) < until && cg_get(&all->now) + 1 < WINDOWS) {
    int at = (int)(next(&random) % (WORKERS + 1));
    nap((long)(next(&random) % 3000000));
    if (next(&random) % 2) { /* what it has looked up may be old when it goes on */
      kill(pids[at], SIGSTOP);
      nap((long)(next(&random) % 6000000));
      kill(pids[at], SIGCONT);
      continue;
    }
    kill(pids[at], SIGKILL);
    waitpid(pids[at], NULL, 0);
    pids[at] = begin(at == WORKERS, next(&random));
    kills++;
  }
  for (int at = 0; at <= WORKERS; at++) kill(pids[at], SIGKILL), waitpid(pids[at], NULL, 0);
  for (uint64_t window = 0; window < WINDOWS; window++)
    for (uint64_t proof = 0; proof < EACH; proof++) {
      uint64_t times = cg_get(&all->won[window][proof]);
      won += times;
      if (times < 2) continue;
      printf("broken: a proof was new %llu times (window %llu of %llu)\n",
             (unsigned long long)times, (unsigned long long)window,
             (unsigned long long)cg_get(&all->now));
      return 1;
    }
  printf("%llu proofs, %llu windows, %llu kills\n", (unsigned long long)won,
         (unsigned long long)cg_get(&all->now), (unsigned long long)kills);
  return won > 100 ? 0 : 1;
}
