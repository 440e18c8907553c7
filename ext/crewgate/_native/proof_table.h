/* The DPoP proofs that a machine has seen: sets to which its processes add without a lock.
 *
 * A proof is remembered as 64 bits of a keyed hash. The same proof always belongs to the same window
 * of time, of which a set has eight. While a window is open, it only grows, so of two processes that
 * add one proof exactly one finds a free place for it. The agent alone opens windows. It does so
 * before their time, and only forwards: a window whose proofs were forgotten never opens again.
 *
 * A process may be stopped between any two of its steps. If the window has closed meanwhile, it
 * finds another number and refuses the proof; what it wrote then takes a place in a later window,
 * and does no harm. */
#ifndef CREWGATE_PROOF_TABLE_H
#define CREWGATE_PROOF_TABLE_H

#include "layout.h"

enum { CG_PROOF_NEW, CG_PROOF_SEEN, CG_PROOF_FULL, CG_PROOF_CLOSED };
/* Proofs go by their own time `iat`; those with a nonce go by the time of the nonce. */
enum { CG_PROOF_BY_TIME, CG_PROOF_BY_NONCE };
enum { CG_PROOF_PROBES = 512 };
#define CG_PROOF_CLEARING (1ull << 63)

static inline uint64_t cg_proof_places(const cg_table *t) {
  return t->proofs / (CG_PROOF_SETS * CG_PROOF_WINDOWS);
}

/* How many proofs a window takes; one crew gets half of it. */
static inline uint64_t cg_proof_room(const cg_table *t) { return cg_proof_places(t) / 4 * 3; }

static inline uint64_t cg_proof_number(uint64_t seconds) { return seconds / CG_PROOF_SECONDS + 1; }

static inline uint64_t cg_proof_at(unsigned set, uint64_t number) {
  return set * CG_PROOF_WINDOWS + number % CG_PROOF_WINDOWS;
}

/* Remembers a proof of a crew, both as hashes; says whether it is new. */
static inline int cg_remember_proof(const cg_table *t, unsigned set, uint64_t seconds,
                                    uint64_t proof, uint64_t crew) {
  uint64_t number = cg_proof_number(seconds), at = cg_proof_at(set, number);
  uint64_t places = cg_proof_places(t);
  cg_proof_window *window = &t->proof_window[at];
  cg_word *first = &t->proof[at * places], *share = &window->share[crew % CG_PROOF_SHARES];
  proof |= proof == 0; /* a free place is 0 */
  if (cg_get(&window->number) != number) return CG_PROOF_CLOSED;
  int is_full = cg_get(&window->count) >= cg_proof_room(t) ||
                cg_get(share) >= cg_proof_room(t) / 2;
  for (uint64_t i = 0; i < CG_PROOF_PROBES && i < places; i++) {
    cg_word *place = &first[(proof + i) & (places - 1)];
    uint64_t found = cg_get(place);
    if (found == 0) {
      if (is_full) return CG_PROOF_FULL;
      if (cg_cas(place, &found, proof)) {
        cg_increment(&window->count);
        cg_increment(share);
        return cg_get(&window->number) == number ? CG_PROOF_NEW : CG_PROOF_CLOSED;
      }
    }
    if (found == proof) return CG_PROOF_SEEN;
  }
  return CG_PROOF_FULL;
}

/* Whether a window has no room for another proof, or none of some crew. */
static inline int cg_proofs_full(const cg_table *t) {
  for (unsigned at = 0; at < CG_PROOF_SETS * CG_PROOF_WINDOWS; at++) {
    const cg_proof_window *window = &t->proof_window[at];
    if (cg_get(&window->count) >= cg_proof_room(t)) return 1;
    for (uint64_t i = 0; i < CG_PROOF_SHARES; i++)
      if (cg_get(&window->share[i]) >= cg_proof_room(t) / 2) return 1;
  }
  return 0;
}

/* The agent opens the window of a time, unless it or a later one in its place is open.
 *
 * Until the place is clear, it has the new number with a mark. So an agent that takes over from one
 * that was killed in between does not open an earlier window there. */
static inline void cg_open_proofs(const cg_table *t, unsigned set, uint64_t seconds) {
  uint64_t number = cg_proof_number(seconds), at = cg_proof_at(set, number);
  uint64_t places = cg_proof_places(t);
  cg_proof_window *window = &t->proof_window[at];
  uint64_t known = cg_get(&window->number);
  if (known == number || (known & ~CG_PROOF_CLEARING) > number) return;
  cg_put(&window->number, number | CG_PROOF_CLEARING);
  cg_put(&window->count, 0);
  for (uint64_t i = 0; i < CG_PROOF_SHARES; i++) cg_put(&window->share[i], 0);
  for (uint64_t i = 0; i < places; i++) cg_put(&t->proof[at * places + i], 0);
  cg_put(&window->number, number);
}

#endif
