/* The machine's clocks, in nanoseconds. */
#ifndef CREWGATE_CLOCK_H
#define CREWGATE_CLOCK_H

#include <stdint.h>
#include <time.h>

#ifndef CLOCK_BOOTTIME
/* macOS has it by another name: there, CLOCK_MONOTONIC counts the time of sleep as well. */
#define CLOCK_BOOTTIME CLOCK_MONOTONIC
#endif

static inline uint64_t cg_clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
