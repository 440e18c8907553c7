/* The memory of one process's metrics: a shard of a memory file that outlives the process.
 *
 * A shard has one writer, the process that holds it, and any number of readers. Nothing waits:
 *  - The directory has an entry for each series: its name, its labels, and its first cell. An entry
 *    is complete before `entries` counts it, and never changes or moves then (but for `shown`).
 *  - A counter and a gauge have one cell. A histogram has a row of them: see MX_HISTOGRAM_CELLS.
 *  - The journal has the calls whose audit lines are just being written. The process notes them,
 *    writes the lines with one system call, then adds them to the cells. If it is killed in between,
 *    the size of the audit file says which calls are to be added: mx_replay. So the cells count the
 *    calls of the audit, each once.
 *
 * The order of stores matters only for a reader of the directory, and for the process that finds
 * what a killed one has left. The kernel completes the stores that a killed thread has begun, so the
 * compiler alone must keep the order; `release` does that, and orders entries for readers. */
#ifndef CREWGATE_METRICS_SHARD_H
#define CREWGATE_METRICS_SHARD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fault_injection.h"

#define MX_MAGIC 0x3143495254454d43ull /* "CMETRIC1"; another layout needs another number */
#define MX_ENTRIES 8192u
#define MX_CELLS 131072u
#define MX_TEXT 1048576u
#define MX_JOURNAL 1024u
#define MX_FILE 1024u
/* Kept back for the series that count what has no room of its own. */
#define MX_SPARE_ENTRIES 128u
#define MX_SPARE_CELLS 8192u
#define MX_SPARE_TEXT 16384u

enum { MX_COUNTER = 0, MX_GAUGE = 1, MX_HISTOGRAM = 2 };
enum { MX_SUM = 0, MX_MAX = 1 }; /* how a reader joins the gauges of several processes */

/* A histogram of `n` bounds: n | exemplars << 16, the bounds, n + 1 counts, the sum; then, if it has
 * exemplars, n + 1 of them. */
#define MX_BOUNDS_MAX 31u
#define MX_EXEMPLAR_CELLS 6u /* version, trace id (2), span id, value, wall time in ns */
#define MX_HISTOGRAM_CELLS(n, exemplars) \
  (2u + (n) + ((n) + 1u) * (1u + ((exemplars) ? MX_EXEMPLAR_CELLS : 0u)))

typedef _Atomic int64_t mx_cell;

typedef struct {
  uint32_t text, cell;
  uint16_t name_size, labels_size; /* of the text: the name, then the labels */
  uint8_t kind, merge, scale, unused;
  _Atomic uint32_t shown; /* 0: a gauge of a process that has ended */
  uint32_t reserved;
} mx_entry;

/* Three histograms and four counters that a call adds to; cell 0 for none. */
enum { MX_TIMES = 3, MX_AMOUNTS = 4 };
typedef struct {
  uint64_t end; /* the size of the audit file that has the call's line */
  uint32_t histograms[MX_TIMES], counters[MX_AMOUNTS];
  int64_t times[MX_TIMES]; /* negative: not known */
  int64_t amounts[MX_AMOUNTS];
  int64_t exemplar[4]; /* trace id (2), span id, wall time; all 0 for none */
} mx_call;

typedef struct {
  uint32_t cell;
  int64_t value;
} mx_intent;
#define MX_INTENTS (2u * MX_TIMES + MX_AMOUNTS)

typedef struct {
  uint64_t magic;
  uint32_t text_used, cells_used;
  _Atomic uint32_t entries;
  /* Of `journal`, [applied, pending) have still to be added. The new values of the cells of call
   * `intent_of` - 1 are in `intents`: storing them twice adds the call once. */
  _Atomic uint32_t pending, applied, intent_of;
  uint32_t intents;
  mx_intent intent[MX_INTENTS];
  char file[MX_FILE]; /* the path of the audit file; empty for none */
  mx_entry directory[MX_ENTRIES];
  mx_call journal[MX_JOURNAL];
  mx_cell cells[MX_CELLS]; /* cell 0 is never used */
  char text[MX_TEXT];
} mx_shard;

/* A whole number of pages of any size that Linux has. */
#define MX_SHARD_BYTES ((sizeof(mx_shard) + 65535u) & ~(size_t)65535u)

static inline int64_t mx_get(const mx_cell *cell) {
  return atomic_load_explicit((mx_cell *)cell, memory_order_relaxed);
}
static inline void mx_set(mx_cell *cell, int64_t value) {
  cg_fault();
  atomic_store_explicit(cell, value, memory_order_release);
}
static inline void mx_note(_Atomic uint32_t *word, uint32_t value) {
  cg_fault();
  atomic_store_explicit(word, value, memory_order_release);
  atomic_signal_fence(memory_order_seq_cst); /* what follows is stored after it */
}
static inline uint32_t mx_noted(const _Atomic uint32_t *word) {
  return atomic_load_explicit((_Atomic uint32_t *)word, memory_order_acquire);
}

/* One writer, so a load and a store are enough. */
static inline void mx_add(mx_cell *cell, int64_t by) { mx_set(cell, mx_get(cell) + by); }

static inline uint32_t mx_bounds(const mx_cell *row) { return (uint32_t)mx_get(row) & 0xffffu; }
static inline int mx_has_exemplars(const mx_cell *row) { return (int)(mx_get(row) >> 16 & 1); }
static inline mx_cell *mx_count(mx_cell *row, uint32_t bucket) {
  return row + 1 + mx_bounds(row) + bucket;
}
static inline mx_cell *mx_total(mx_cell *row) { return mx_count(row, mx_bounds(row) + 1); }
static inline mx_cell *mx_exemplar(mx_cell *row, uint32_t bucket) {
  return mx_total(row) + 1 + bucket * MX_EXEMPLAR_CELLS;
}
static inline uint32_t mx_bucket(const mx_cell *row, int64_t value) {
  uint32_t at = 0, n = mx_bounds(row);
  while (at < n && value > mx_get(row + 1 + at)) at++;
  return at;
}

static inline void mx_observe(mx_cell *row, int64_t value) {
  mx_add(mx_count(row, mx_bucket(row, value)), 1);
  mx_add(mx_total(row), value);
}

/* Whether the text and the cells of an entry lie in the shard. A reader trusts nothing in a shard. */
static inline int mx_is_sound(const mx_shard *shard, const mx_entry *entry) {
  uint32_t room, n;
  if (entry->text > MX_TEXT || MX_TEXT - entry->text < (uint32_t)entry->name_size + entry->labels_size)
    return 0;
  if (entry->cell < 1 || entry->cell >= MX_CELLS || entry->kind > MX_HISTOGRAM ||
      entry->scale > 9 || entry->name_size < 1)
    return 0;
  if (entry->kind != MX_HISTOGRAM) return 1;
  room = MX_CELLS - entry->cell;
  n = mx_bounds(shard->cells + entry->cell);
  return n <= MX_BOUNDS_MAX &&
         MX_HISTOGRAM_CELLS(n, mx_has_exemplars(shard->cells + entry->cell)) <= room;
}

/* Whether a process can count in a shard that others have used. A process that works uses less than
 * half of what is kept back: one series for each metric. */
static inline int mx_has_room(const mx_shard *shard) {
  return mx_noted(&shard->entries) <= MX_ENTRIES - MX_SPARE_ENTRIES / 2 &&
         shard->cells_used <= MX_CELLS - MX_SPARE_CELLS / 2 &&
         shard->text_used <= MX_TEXT - MX_SPARE_TEXT / 2;
}

/* Adds an entry, and returns its number; -1 if there is no room. `spare`: it may use the room that
 * is kept back. */
static inline int64_t mx_enter(mx_shard *shard, const char *text, mx_entry entry, uint32_t cells,
                               int spare) {
  uint32_t number = mx_noted(&shard->entries), size = (uint32_t)entry.name_size + entry.labels_size;
  if (number + (spare ? 0 : MX_SPARE_ENTRIES) >= MX_ENTRIES ||
      shard->cells_used + cells + (spare ? 0 : MX_SPARE_CELLS) >= MX_CELLS ||
      shard->text_used + size + (spare ? 0 : MX_SPARE_TEXT) > MX_TEXT)
    return -1;
  entry.text = shard->text_used;
  entry.cell = shard->cells_used + 1;
  memcpy(shard->text + entry.text, text, size);
  shard->directory[number] = entry;
  shard->text_used += size;
  shard->cells_used += cells;
  return number;
}

/* Notes calls whose lines follow each other in the audit file from `start` on. Each line is longer
 * by `more` than its call says. */
static inline void mx_begin(mx_shard *shard, const mx_call *calls, uint32_t count, uint64_t start,
                            uint64_t more) {
  for (uint32_t at = 0; at < count; at++) {
    shard->journal[at] = calls[at];
    start += calls[at].end + more;
    shard->journal[at].end = start;
  }
  mx_note(&shard->intent_of, 0);
  mx_note(&shard->applied, 0);
  mx_note(&shard->pending, count);
}

static inline void mx_intend(mx_shard *shard, uint32_t cell, int64_t by) {
  shard->intent[shard->intents].cell = cell;
  shard->intent[shard->intents++].value = mx_get(shard->cells + cell) + by;
}

static inline void mx_fulfil(mx_shard *shard) {
  for (uint32_t at = 0; at < shard->intents; at++)
    mx_set(shard->cells + shard->intent[at].cell, shard->intent[at].value);
}

static inline void mx_keep_exemplar(mx_cell *row, uint32_t bucket, const mx_call *call,
                                    int64_t value) {
  mx_cell *to = mx_exemplar(row, bucket);
  int64_t version = mx_get(to);
  mx_set(to, version | 1); /* odd: it changes just now */
  atomic_thread_fence(memory_order_release);
  for (int at = 0; at < 3; at++) mx_set(to + 1 + at, call->exemplar[at]);
  mx_set(to + 4, value);
  mx_set(to + 5, call->exemplar[3]);
  mx_set(to, (version | 1) + 1);
}

/* Copies an exemplar without its version; false if there is none, or if it changes just now. */
static inline int mx_read_exemplar(const mx_cell *from, int64_t to[5]) {
  int64_t version = atomic_load_explicit((mx_cell *)from, memory_order_acquire);
  for (int at = 0; at < 5; at++) to[at] = mx_get(from + 1 + at);
  atomic_thread_fence(memory_order_acquire);
  return version && !(version & 1) && version == mx_get(from);
}

/* Adds call `at` of the journal to its cells. */
static inline void mx_apply(mx_shard *shard, uint32_t at) {
  const mx_call *call = &shard->journal[at];
  shard->intents = 0;
  for (int i = 0; i < MX_AMOUNTS; i++)
    if (call->counters[i] && call->amounts[i])
      mx_intend(shard, call->counters[i], call->amounts[i]);
  for (int i = 0; i < MX_TIMES; i++) {
    if (!call->histograms[i] || call->times[i] < 0) continue;
    mx_cell *row = shard->cells + call->histograms[i];
    uint32_t bucket = mx_bucket(row, call->times[i]);
    mx_intend(shard, (uint32_t)(mx_count(row, bucket) - shard->cells), 1);
    mx_intend(shard, (uint32_t)(mx_total(row) - shard->cells), call->times[i]);
    if (mx_has_exemplars(row) && (call->exemplar[0] | call->exemplar[1]))
      mx_keep_exemplar(row, bucket, call, call->times[i]);
  }
  mx_note(&shard->intent_of, at + 1);
  mx_fulfil(shard);
  mx_note(&shard->applied, at + 1);
}

static inline void mx_commit(mx_shard *shard) {
  uint32_t pending = mx_noted(&shard->pending);
  for (uint32_t at = mx_noted(&shard->applied); at < pending; at++) mx_apply(shard, at);
  mx_note(&shard->pending, 0);
}

static inline int mx_can_apply(mx_shard *shard, const mx_call *call) {
  for (int i = 0; i < MX_AMOUNTS; i++)
    if (call->counters[i] >= MX_CELLS) return 0;
  for (int i = 0; i < MX_TIMES; i++) {
    uint32_t cell = call->histograms[i];
    if (cell >= MX_CELLS) return 0;
    uint32_t n = cell ? mx_bounds(shard->cells + cell) : 0;
    int with = cell && mx_has_exemplars(shard->cells + cell);
    if (cell && (n > MX_BOUNDS_MAX || MX_HISTOGRAM_CELLS(n, with) > MX_CELLS - cell)) return 0;
  }
  return 1;
}

/* Adds the calls that a killed process has noted and written, since the audit file has `size` bytes,
 * and forgets the others. It may be killed itself, and repeated. */
static inline void mx_replay(mx_shard *shard, uint64_t size) {
  uint32_t pending = mx_noted(&shard->pending), at = mx_noted(&shard->applied);
  if (pending > MX_JOURNAL) pending = 0;
  for (; at < pending; at++) {
    int is_whole = shard->intents <= MX_INTENTS;
    for (uint32_t i = 0; is_whole && i < shard->intents; i++)
      is_whole = shard->intent[i].cell && shard->intent[i].cell < MX_CELLS;
    if (mx_noted(&shard->intent_of) == at + 1 && is_whole) {
      mx_fulfil(shard);
      mx_note(&shard->applied, at + 1);
    } else if (shard->journal[at].end <= size && mx_can_apply(shard, &shard->journal[at])) {
      mx_apply(shard, at);
    } else {
      mx_note(&shard->applied, at + 1);
    }
  }
  mx_note(&shard->pending, 0);
}

/* A histogram's cell count, or a gauge's value, is a number of units of 10^-scale: writes it as a
 * decimal number without needless zeros. At most 24 characters. */
static inline char *mx_decimal(char *to, int64_t value, unsigned scale) {
  char digits[24];
  int n = 0, end;
  uint64_t rest = value < 0 ? UINT64_C(0) - (uint64_t)value : (uint64_t)value;
  do {
    digits[n++] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest || n <= (int)scale);
  for (end = 0; end < (int)scale && digits[end] == '0';) end++;
  if (value < 0) *to++ = '-';
  while (n > (int)scale) *to++ = digits[--n];
  if (end < (int)scale) *to++ = '.';
  while (n > end) *to++ = digits[--n];
  return to;
}

#endif
