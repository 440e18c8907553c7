/* Lets a test end the process between any two stores to shared memory (build: CREWGATE_FAULTS).
 *
 * Each module that includes this file has a countdown of its own. */
#ifndef CREWGATE_FAULT_INJECTION_H
#define CREWGATE_FAULT_INJECTION_H

#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#ifdef CREWGATE_FAULTS
static int64_t cg_fault_countdown = 0;
static inline void cg_fault(void) {
  if (cg_fault_countdown > 0 && --cg_fault_countdown == 0) kill(getpid(), SIGKILL);
}
static inline int cg_arm_fault(int64_t stores) {
  cg_fault_countdown = stores;
  return 1;
}
#else
#define cg_fault() ((void)0)
static inline int cg_arm_fault(int64_t stores) { return 0; }
#endif

#endif
