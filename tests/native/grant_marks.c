/* The marks of grants under processes that write their lines and are killed or stopped in between.
 *
 * A process that finds a grant written must find its line. Two processes never have the claim at one
 * time. In the end every grant has a line, and there are no more second lines than kills and stops. Usage: grant_marks SECONDS SEED; prints what
 * it did, exits 1 with the first broken promise. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "grant_marks.h"
#include "race.h"

enum { WORKERS = 3, GRANTS = 64, ROUNDS = 1 << 14, BRANCHES = 1 << 18 };

typedef struct {
  cg_word round; /* each has grants of its own, so that no grant displaces another one */
  cg_word seconds; /* the clock */
  cg_word lines[ROUNDS][GRANTS];
  cg_word claimed[ROUNDS][GRANTS]; /* the clock when it was first claimed */
  cg_word without_line, claimed_twice;
} shared;

static cg_table table;
static shared *all;

static uint64_t hash_of(uint64_t round, uint64_t grant) {
  uint64_t place = round * GRANTS + grant, random = place;
  return next(&random) << 20 | place;
}

static void admit(uint64_t round, uint64_t grant) {
  uint64_t hash = hash_of(round, grant);
  uint64_t seconds = cg_get(&all->seconds), first = 0;
  int found = cg_claim_grant(&table, hash, seconds);
  if (found == CG_GRANT_OURS) {
    if (!cg_cas(&all->claimed[round][grant], &first, seconds) && first == seconds)
      cg_increment(&all->claimed_twice);
    cg_increment(&all->lines[round][grant]);
    cg_note_grant(&table, hash);
  } else if (found == CG_GRANT_WRITTEN && cg_get(&all->lines[round][grant]) == 0) {
    cg_increment(&all->without_line);
  }
}

static void work(uint64_t random) {
  for (;;) admit(cg_get(&all->round), next(&random) % GRANTS);
}

static pid_t begin(uint64_t seed) {
  pid_t child = fork();
  if (child < 0) exit(2);
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  work(seed);
  exit(2);
}

int main(int count, char **arguments) {
  double seconds = count > 1 ? atof(arguments[1]) : 1;
  uint64_t random = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
  uint64_t disturbed = 0, lines = 0, second_lines = 0;
  uint64_t bytes = cg_map(&table, NULL, BRANCHES, 64, 64, 2, 1024);
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || all == MAP_FAILED) return 2;
  cg_map(&table, memory, BRANCHES, 64, 64, 2, 1024);
  pid_t pids[WORKERS];
  cg_put(&all->seconds, 1);
  for (int at = 0; at < WORKERS; at++) pids[at] = begin(next(&random));
  time_t until = time(NULL) + (time_t)(seconds + 1);
  while (time(NULL) < until && cg_get(&all->round) + 2 < ROUNDS) {
    nap((long)(next(&random) % 300000));
    uint64_t kind = next(&random) % 32;
    int at = (int)(next(&random) % WORKERS);
    if (kind < 2) { /* the others take over what a stopped or dead process has claimed */
      disturbed++;
      if (kind) {
        kill(pids[at], SIGSTOP);
        cg_put(&all->seconds, cg_get(&all->seconds) + 3);
        nap((long)(next(&random) % 1000000));
        kill(pids[at], SIGCONT);
      } else {
        kill(pids[at], SIGKILL);
        waitpid(pids[at], NULL, 0);
        pids[at] = begin(next(&random));
        cg_put(&all->seconds, cg_get(&all->seconds) + 3);
      }
    }
    cg_increment(&all->round);
  }
  for (int at = 0; at < WORKERS; at++) kill(pids[at], SIGKILL), waitpid(pids[at], NULL, 0);
  cg_put(&all->seconds, cg_get(&all->seconds) + 3);
  for (uint64_t round = 0; round <= cg_get(&all->round); round++)
    for (uint64_t grant = 0; grant < GRANTS; grant++) {
      admit(round, grant);
      uint64_t found = cg_get(&all->lines[round][grant]);
      if (found == 0) return printf("broken: a grant has no line\n"), 1;
      lines += found;
      second_lines += found - 1;
    }
  if (cg_get(&all->without_line))
    return printf("broken: a grant was written without a line\n"), 1;
  if (cg_get(&all->claimed_twice)) return printf("broken: two processes had one claim\n"), 1;
  printf("%llu lines, %llu second ones, %llu kills and stops\n", (unsigned long long)lines,
         (unsigned long long)second_lines, (unsigned long long)disturbed);
  if (second_lines > disturbed) return printf("broken: too many second lines\n"), 1;
  return lines > 1000 ? 0 : 1;
}
