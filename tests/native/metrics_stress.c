/* A shard of metrics under its one writer and several readers, for ThreadSanitizer.
 *
 * The writer enters series, and counts batches of calls in them, without pause. Readers look at the
 * directory, the cells and the exemplars, as a scrape does. Each entry that is counted is whole, no
 * counter goes back, and each exemplar is that of one call. The kill of CREWGATE_FAULTS is replaced
 * by the readers' turn, before some of the writer's stores. Usage: metrics_stress SECONDS; prints
 * what it did, exits 1 with the first broken promise.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void let_readers_look(void);
#define CREWGATE_FAULTS
#define kill(process, signal) let_readers_look()
#include "metrics_shard.h"
#undef kill

enum { READERS = 2, BOUNDS = 3, BATCH = 16, NAME = 8, KEPT = 64 };

static mx_shard shard;
static _Atomic uint64_t stop, looks, exemplars, calls;

static void promised(int kept, const char *what, uint64_t which) {
  if (kept) return;
  printf("broken: %s (%llu)\n", what, (unsigned long long)which);
  exit(1);
}

static void let_readers_look(void) {
  static uint64_t turns;
  sched_yield();
  cg_arm_fault(1 + (int64_t)(turns++ * 7919 % 997));
}

/* -- the writer: as metrics.pyx does it -------------------------------------------------------- */

static void name_of(uint32_t number, char *text) {
  snprintf(text, NAME + 1, "%08u", number % 100000000u);
}

/* Every other series is a histogram with exemplars; a counter has one cell. */
static uint32_t enter(uint32_t number) {
  char text[NAME + 1];
  mx_entry entry;
  int is_histogram = number % 2;
  uint32_t cells = is_histogram ? MX_HISTOGRAM_CELLS(BOUNDS, 1) : 1;
  name_of(number, text);
  memset(&entry, 0, sizeof entry);
  entry.name_size = NAME;
  entry.kind = is_histogram ? MX_HISTOGRAM : MX_COUNTER;
  if (mx_enter(&shard, text, entry, cells, 0) < 0) return 0;
  mx_cell *row = shard.cells + shard.directory[number].cell;
  if (is_histogram) {
    mx_set(row, BOUNDS | 1 << 16);
    for (int at = 0; at < BOUNDS; at++) mx_set(row + 1 + at, 1000 * (at + 1));
  }
  mx_note(&shard.entries, number + 1);
  return shard.directory[number].cell;
}

static mx_call call_of(uint64_t value, uint32_t counter, uint32_t histogram) {
  mx_call call;
  memset(&call, 0, sizeof call);
  call.end = 1;
  call.counters[0] = counter;
  call.amounts[0] = 1;
  call.histograms[0] = histogram;
  call.times[0] = (int64_t)value;
  call.times[1] = call.times[2] = -1;
  for (int at = 0; at < 4; at++) call.exemplar[at] = (int64_t)(value * (2u * at + 3u) + 1);
  return call;
}

static void *write_calls(void *unused) {
  uint32_t known[KEPT] = {0}, count = 0;
  let_readers_look();
  for (uint64_t value = 0; !stop;) {
    uint32_t cell = count < MX_ENTRIES ? enter(count) : 0;
    if (cell) known[count++ % KEPT] = cell;
    if (count < 2) continue;
    mx_call batch[BATCH];
    uint32_t last = count - 1 - count % 2; /* a histogram; the counter is the one before it */
    for (int at = 0; at < BATCH; at++, value++)
      batch[at] = call_of(value % 5000, known[(last - 1) % KEPT], known[last % KEPT]);
    mx_begin(&shard, batch, BATCH, value, 0);
    mx_commit(&shard);
    calls += BATCH;
  }
  return unused;
}

/* -- readers: as metrics_reader.pyx does it ---------------------------------------------------- */

static void look_at_exemplars(const mx_cell *row) {
  int64_t found[5];
  for (uint32_t bucket = 0; bucket <= BOUNDS; bucket++) {
    if (!mx_read_exemplar(mx_exemplar((mx_cell *)row, bucket), found)) continue;
    uint64_t value = (uint64_t)found[3];
    int is_whole = mx_bucket(row, found[3]) == bucket;
    for (int at = 0; at < 3; at++)
      is_whole = is_whole && found[at] == (int64_t)(value * (2u * at + 3u) + 1);
    promised(is_whole && found[4] == (int64_t)(value * 9 + 1), "an exemplar is of two calls", value);
    exemplars++;
  }
}

static void *read_all(void *unused) {
  int64_t *before = calloc(MX_ENTRIES, sizeof *before);
  for (uint32_t first = 0; !stop; first = first ? 0 : KEPT, looks++) {
    uint32_t count = mx_noted(&shard.entries);
    uint32_t at = first && count > first ? count - first : 0; /* all, then the newest */
    for (; at < count; at++) {
      char text[NAME + 1];
      mx_entry entry = shard.directory[at];
      name_of(at, text);
      promised(mx_is_sound(&shard, &entry), "an entry is not sound", at);
      promised(!memcmp(shard.text + entry.text, text, NAME), "an entry has another name", at);
      const mx_cell *cells = shard.cells + entry.cell;
      if (entry.kind == MX_HISTOGRAM) {
        promised(mx_bounds(cells) == BOUNDS && mx_has_exemplars(cells), "a row has no bounds", at);
        look_at_exemplars(cells);
        continue;
      }
      int64_t value = mx_get(cells);
      promised(value >= before[at], "a counter went back", at);
      before[at] = value;
    }
  }
  free(before);
  return unused;
}

int main(int count, char **arguments) {
  pthread_t writer, readers[READERS];
  struct timespec pause = {count > 1 ? atoi(arguments[1]) : 1, 0};
  shard.magic = MX_MAGIC;
  pthread_create(&writer, NULL, write_calls, NULL);
  for (int at = 0; at < READERS; at++) pthread_create(&readers[at], NULL, read_all, NULL);
  nanosleep(&pause, NULL);
  stop = 1;
  pthread_join(writer, NULL);
  for (int at = 0; at < READERS; at++) pthread_join(readers[at], NULL);
  printf("series %u calls %llu looks %llu exemplars %llu\n", mx_noted(&shard.entries),
         (unsigned long long)calls, (unsigned long long)looks, (unsigned long long)exemplars);
  return 0;
}
