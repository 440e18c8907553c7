/* What programs that race processes or threads share: random numbers and pauses. */
#ifndef CREWGATE_RACE_H
#define CREWGATE_RACE_H

#include <stdint.h>
#include <time.h>

static inline uint64_t next(uint64_t *random) { /* splitmix64, Steele et al. 2014 */
  uint64_t z = (*random += 0x9e3779b97f4a7c15ull);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

static inline void nap(long nanoseconds) {
  struct timespec pause = {0, nanoseconds};
  nanosleep(&pause, NULL);
}

#endif
