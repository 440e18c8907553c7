/* What each branch, with all below it, has done lately: counted by the processes of a machine without a
 * lock, for the rules on branches (core/rules).
 *
 * A call has a digest, and so has an answer; 0 is an unknown one. A branch remembers a few different
 * calls. Another call is progress: from then on, all counts of equal calls begin anew. Equal calls
 * count when they are answered, and those that ran at the same time count once.
 *
 * A call counts at its branch and at each branch above it. The counts of one series are one word,
 * which grows by compare-and-swap. If a process is killed between two stores of a series, the next
 * one finds the tag of another call in that word, and begins the count anew. `core/rules/activity.py`
 * says the same more slowly. */
#ifndef CREWGATE_BRANCH_ACTIVITY_H
#define CREWGATE_BRANCH_ACTIVITY_H

#include "layout.h"

/* Digests of calls that are not compared: one that is taken for another call each time, and one of a
 * call that may be repeated. */
#define CG_CALL_UNKNOWN 0u
#define CG_CALL_EXEMPT 1u

/* The bits of the counts of a series, from the lowest: three counts, the progress of the branch when
 * they began, and a tag of the call. */
#define CG_COUNT_BITS 14u
#define CG_COUNT_MAX ((1ull << CG_COUNT_BITS) - 1)
#define CG_COUNT(counts, i) ((counts) >> (i) * CG_COUNT_BITS & CG_COUNT_MAX)
#define CG_PROGRESS(counts) CG_COUNT(counts, CG_COUNTS)
#define CG_SERIES_TAG(counts) ((counts) >> 56)
enum { CG_EQUAL_CALLS, CG_EQUAL_ANSWERS, CG_FAILURES, CG_COUNTS };

/* When the newest call ended: milliseconds of CLOCK_BOOTTIME, and after how many seconds its answer
 * asks to call again. */
#define CG_RETRY_BITS 24u
#define CG_RETRY_MAX ((1ull << CG_RETRY_BITS) - 1)
#define CG_ENDED_MS(ended) ((ended) >> CG_RETRY_BITS)
#define CG_RETRY(ended) ((ended) & CG_RETRY_MAX)

/* A minute of CLOCK_BOOTTIME, and what was counted in it. */
#define CG_MINUTE_BITS 40u
#define CG_IN_MINUTE_MAX ((1ull << CG_MINUTE_BITS) - 1)

/* When a branch first called: 24 bits of the generation of its record, seconds of CLOCK_BOOTTIME. */
#define CG_BEGAN_BITS 40u
#define CG_BEGAN_SECONDS(began) ((began) & ((1ull << CG_BEGAN_BITS) - 1))

/* A call that was answered. `busy`: the answer says that the call may be repeated. */
typedef struct {
  uint64_t call, answer, started_ms, ended_ms, retry_seconds, cost;
  int is_failed, is_busy;
} cg_answered;

/* What rules compare with their limits, in the order of `core.rules.rule.RuleKind`. */
enum {
  CG_SAME_CALL,
  CG_SAME_ANSWER,
  CG_SAME_FAILURE,
  CG_ALTERNATION,
  CG_REFUSED_CALLS, /* only refused calls count for it: cg_note_refusal */
  CG_CALLS_PER_MINUTE,
  CG_CREDITS_PER_MINUTE,
  CG_WALL_TIME,
  CG_LIVE_BRANCHES, /* a word of the branch */
  CG_RULE_KINDS
};

static inline uint64_t cg_least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static inline uint64_t cg_pack_counts(uint64_t call, uint64_t progress, const uint64_t *count) {
  uint64_t word = call >> 56 << 56 | (progress & CG_COUNT_MAX) << CG_COUNTS * CG_COUNT_BITS;
  for (unsigned i = 0; i < CG_COUNTS; i++) word |= cg_least(count[i], CG_COUNT_MAX) << i * CG_COUNT_BITS;
  return word;
}

/* The activity of a branch, which is empty at its first use. A process that is killed while it empties
 * it leaves series whose pause has been too long. */
static inline cg_activity *cg_activity_of(const cg_table *t, uint64_t record, uint64_t generation,
                                          uint64_t ms) {
  cg_activity *a = &t->activity[record];
  uint64_t seen = cg_get(&a->began), tag = generation << CG_BEGAN_BITS;
  if ((seen ^ tag) >> CG_BEGAN_BITS == 0 || !cg_cas(&a->began, &seen, tag | ms / 1000)) return a;
  cg_word *emptied[] = {&a->noted[0], &a->noted[1], &a->noted[2], &a->refused, &a->calls, &a->spent};
  for (size_t i = 0; i < sizeof emptied / sizeof *emptied; i++) cg_put(emptied[i], 0);
  for (unsigned i = 0; i < CG_SERIES; i++) cg_put(&a->series[i].call, 0);
  for (unsigned i = 0; i < CG_SERIES; i++) cg_put(&a->series[i].ended, 0);
  return a;
}

/* The activity of a branch for a process that only looks: NULL if no call of the branch has counted. */
static inline const cg_activity *cg_known_activity(const cg_table *t, uint64_t record,
                                                   uint64_t generation) {
  const cg_activity *a = &t->activity[record];
  return (cg_get(&a->began) ^ generation << CG_BEGAN_BITS) >> CG_BEGAN_BITS ? NULL : a;
}

static inline cg_series *cg_find_series(cg_activity *a, uint64_t call) {
  for (unsigned i = 0; i < CG_SERIES; i++)
    if (cg_get(&a->series[i].call) == call) return &a->series[i];
  return NULL;
}

/* Has the steps of some rules recorded again when they are taken next. */
static inline void cg_forget_steps(cg_activity *a, uint64_t rules) {
  for (unsigned i = 0; i < CG_RULE_STEPS; i++)
    if (cg_get(&a->noted[i]) & rules) cg_clear_bits(&a->noted[i], rules);
}

/* Takes the place of the series that ended first for another call: progress. So the steps of
 * `equal_rules` may be noted again. NULL if other processes took every place first. */
static inline cg_series *cg_begin_series(cg_activity *a, uint64_t call, uint64_t equal_rules) {
  for (unsigned tries = 0; tries < CG_SERIES; tries++) {
    cg_series *oldest = a->series;
    for (unsigned i = 1; i < CG_SERIES; i++)
      if (cg_get(&a->series[i].ended) < cg_get(&oldest->ended)) oldest = &a->series[i];
    uint64_t known = cg_get(&oldest->call);
    if (known == call) return oldest;
    cg_increment(&a->progress); /* first: if this process is killed now, it has been one call more */
    cg_forget_steps(a, equal_rules);
    if (!cg_cas(&oldest->call, &known, call)) continue;
    cg_put(&oldest->counts, (call >> 56 ^ 0xff) << 56);
    cg_put(&oldest->answer, 0);
    return oldest;
  }
  return NULL;
}

/* Whether a call that began at `ms` goes on with a series. */
static inline int cg_goes_on(uint64_t counts, uint64_t ended, uint64_t call, uint64_t progress,
                             uint64_t ms, uint64_t pause_ms) {
  return CG_SERIES_TAG(counts) == call >> 56 && CG_PROGRESS(counts) == (progress & CG_COUNT_MAX) &&
         ms <= CG_ENDED_MS(ended) + pause_ms;
}

/* Whether a call that began at `ms` waited for as long as the last answer asked. */
static inline int cg_has_waited(uint64_t ended, uint64_t ms) {
  return CG_RETRY(ended) && ms >= CG_ENDED_MS(ended) + 1000 * CG_RETRY(ended);
}

static inline void cg_count_in_minute(cg_word *word, uint64_t ms, uint64_t more) {
  uint64_t minute = ms / 60000 << CG_MINUTE_BITS, seen = cg_get(word), sum;
  do {
    sum = (seen ^ minute) >> CG_MINUTE_BITS ? 0 : seen & CG_IN_MINUTE_MAX;
  } while (!cg_cas(word, &seen, minute | cg_least(sum + more, CG_IN_MINUTE_MAX)));
}

static inline uint64_t cg_in_minute(const cg_word *word, uint64_t ms) {
  uint64_t seen = cg_get(word);
  return (seen ^ ms / 60000 << CG_MINUTE_BITS) >> CG_MINUTE_BITS ? 0 : seen & CG_IN_MINUTE_MAX;
}

static inline int cg_count_series(cg_activity *a, const cg_answered *n, uint64_t pause_ms,
                                  uint64_t equal_rules, int is_repeat) {
  cg_series *s = cg_find_series(a, n->call);
  if (s == NULL) s = cg_begin_series(a, n->call, equal_rules);
  if (s == NULL) return 0;
  uint64_t seen = cg_get(&s->counts), ended, next;
  int goes_on;
  do {
    uint64_t progress = cg_get(&a->progress), count[CG_COUNTS];
    ended = cg_get(&s->ended);
    goes_on = cg_goes_on(seen, ended, n->call, progress, n->started_ms, pause_ms);
    if (goes_on && (!is_repeat || n->started_ms < CG_ENDED_MS(ended))) return 1;
    for (unsigned i = 0; i < CG_COUNTS; i++) count[i] = goes_on ? CG_COUNT(seen, i) : 0;
    if (!n->is_busy && !(goes_on && cg_has_waited(ended, n->started_ms))) {
      int is_equal = n->answer != 0 && count[CG_EQUAL_ANSWERS] && cg_get(&s->answer) == n->answer;
      count[CG_EQUAL_CALLS]++;
      count[CG_EQUAL_ANSWERS] = is_equal ? count[CG_EQUAL_ANSWERS] + 1 : 1;
    }
    count[CG_FAILURES] = n->is_failed ? count[CG_FAILURES] + 1 : 0;
    next = cg_pack_counts(n->call, progress, count);
  } while (!cg_cas(&s->counts, &seen, next));
  cg_put(&s->answer, n->answer);
  cg_put(&s->ended, n->ended_ms << CG_RETRY_BITS | cg_least(n->retry_seconds, CG_RETRY_MAX));
  return goes_on;
}

/* Counts a call of the branch, or of one below it, that was answered; says whether the branch had
 * made it before, lately. `equal_rules` are the bits of the rules on equal calls, `refusal_rules`
 * those of the rules on refused ones. `is_repeat`: the branch that calls had made it before. Many
 * branches that make a call once each do not repeat it, so above them such calls do not count. */
static inline int cg_note_answer(cg_activity *a, const cg_answered *n, uint64_t pause_ms,
                                 uint64_t equal_rules, uint64_t refusal_rules, int is_repeat) {
  cg_count_in_minute(&a->calls, n->ended_ms, 1);
  cg_count_in_minute(&a->spent, n->ended_ms, n->cost);
  if (cg_get(&a->refused)) {
    cg_put(&a->refused, 0);
    cg_forget_steps(a, refusal_rules);
  }
  if (n->call == CG_CALL_UNKNOWN)
    cg_increment(&a->progress);
  else if (n->call != CG_CALL_EXEMPT)
    return cg_count_series(a, n, pause_ms, equal_rules, is_repeat);
  return 0;
}

/* Counts a call that a rule refused: it is equal to those before, but no progress. Its answer counts
 * as equal, and as a failure, if that was so before: one of many different answers is not. */
static inline void cg_note_rule_refusal(cg_activity *a, uint64_t call, uint64_t ms) {
  cg_series *s = call > CG_CALL_EXEMPT ? cg_find_series(a, call) : NULL;
  if (s == NULL) return;
  uint64_t seen = cg_get(&s->counts), next;
  do {
    if (CG_SERIES_TAG(seen) != call >> 56) return;
    uint64_t count[CG_COUNTS], calls = CG_COUNT(seen, CG_EQUAL_CALLS);
    for (unsigned i = 0; i < CG_COUNTS; i++) {
      count[i] = CG_COUNT(seen, i);
      count[i] += count[i] > 1 || (count[i] == 1 && calls == 1);
    }
    next = cg_pack_counts(call, CG_PROGRESS(seen), count);
  } while (!cg_cas(&s->counts, &seen, next));
  cg_put(&s->ended, ms << CG_RETRY_BITS);
}

/* Counts a call that was refused for its tool or its arguments; says how many that is in a row. */
static inline uint64_t cg_note_refusal(cg_activity *a, uint64_t ms, uint64_t pause_ms) {
  uint64_t seen = cg_get(&a->refused), count;
  do {
    count = ms <= (seen >> CG_RETRY_BITS) + pause_ms ? (seen & CG_RETRY_MAX) + 1 : 1;
  } while (!cg_cas(&a->refused, &seen, ms << CG_RETRY_BITS | cg_least(count, CG_RETRY_MAX)));
  return count;
}

/* Puts a count among the largest ones, the largest first. */
static inline void cg_add_to_largest(uint64_t largest[CG_TURNS], uint64_t count) {
  for (unsigned i = 0; i < CG_TURNS; i++)
    if (count > largest[i]) {
      uint64_t less = largest[i];
      largest[i] = count, count = less;
    }
}

/* Reads the counts of a branch as they would be if the call were made at `ms`.
 *
 * More than CG_TURNS calls in turn do not count. But calls that a branch makes twice as often as it
 * takes such turns count from there on: else a few calls that it has repeated would hide a loop. */
static inline void cg_read_activity(cg_activity *a, uint64_t call, uint64_t ms, uint64_t pause_ms,
                                    uint64_t out[CG_RULE_KINDS]) {
  uint64_t progress = cg_get(&a->progress), different = 0, others[CG_TURNS] = {0};
  const cg_series *own = NULL;
  memset(out, 0, CG_RULE_KINDS * sizeof *out);
  out[CG_CALLS_PER_MINUTE] = cg_in_minute(&a->calls, ms) + 1;
  out[CG_CREDITS_PER_MINUTE] = cg_in_minute(&a->spent, ms);
  out[CG_WALL_TIME] = ms / 1000 - cg_least(CG_BEGAN_SECONDS(cg_get(&a->began)), ms / 1000);
  if (call <= CG_CALL_EXEMPT) return;
  for (unsigned i = 0; i < CG_SERIES; i++) {
    uint64_t known = cg_get(&a->series[i].call), counts = cg_get(&a->series[i].counts);
    if (known == call) own = &a->series[i];
    if (known == 0 || known == call || CG_SERIES_TAG(counts) != known >> 56 ||
        CG_PROGRESS(counts) != (progress & CG_COUNT_MAX))
      continue;
    different++;
    cg_add_to_largest(others, CG_COUNT(counts, CG_EQUAL_CALLS));
  }
  if (own == NULL) return;
  uint64_t counts = cg_get(&own->counts), ended = cg_get(&own->ended);
  if (!cg_goes_on(counts, ended, call, progress, ms, pause_ms) || cg_has_waited(ended, ms)) return;
  uint64_t calls = CG_COUNT(counts, CG_EQUAL_CALLS) + 1, in_turn = 2 * others[CG_TURNS - 1];
  int is_alone = different == 0 || (different >= CG_TURNS && 2 * others[0] < calls);
  if (different < CG_TURNS) in_turn = 0;
  if (calls > in_turn) out[is_alone ? CG_SAME_CALL : CG_ALTERNATION] = calls - in_turn;
  out[CG_SAME_ANSWER] = CG_COUNT(counts, CG_EQUAL_ANSWERS) + 1;
  out[CG_SAME_FAILURE] = CG_COUNT(counts, CG_FAILURES) + 1;
}

#endif
