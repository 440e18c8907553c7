/* Which grants the audit of this machine has, so that one process writes each of them once.
 *
 * A mark is one word in a place that the hash of the token gives: 48 bits of the hash, 15 bits of
 * the time of the claim, and a bit that says whether the line is written. A process claims the mark,
 * writes the line, and sets the bit. If it is killed in between, another process takes the mark over
 * some seconds later and writes the line. A grant that displaces another one in its place can only
 * lead to a second line. */
#ifndef CREWGATE_GRANT_MARKS_H
#define CREWGATE_GRANT_MARKS_H

#include "layout.h"

enum { CG_GRANT_WRITTEN, CG_GRANT_OURS, CG_GRANT_CLAIMED };
#define CG_CLAIM_SECONDS 2u
#define CG_CLAIM_TIME 0x7fffu

static inline cg_word *cg_grant_place(const cg_table *t, uint64_t hash) {
  return &t->grant_mark[hash & (CG_GRANT_MARKS * t->branches - 1)];
}

/* Says whether the caller must write the line of a grant now; `seconds` are of CLOCK_BOOTTIME. */
static inline int cg_claim_grant(const cg_table *t, uint64_t hash, uint64_t seconds) {
  cg_word *place = cg_grant_place(t, hash);
  uint64_t tag = hash >> 16 << 16, seen = cg_get(place);
  if (seen != 0 && (seen ^ tag) >> 16 == 0) {
    if (seen & 1) return CG_GRANT_WRITTEN;
    if (((seconds - (seen >> 1)) & CG_CLAIM_TIME) < CG_CLAIM_SECONDS) return CG_GRANT_CLAIMED;
  }
  uint64_t claim = tag | (seconds & CG_CLAIM_TIME) << 1;
  return cg_cas(place, &seen, claim) ? CG_GRANT_OURS : CG_GRANT_CLAIMED;
}

static inline void cg_note_grant(const cg_table *t, uint64_t hash) {
  cg_put(cg_grant_place(t, hash), hash >> 16 << 16 | 1);
}

#endif
