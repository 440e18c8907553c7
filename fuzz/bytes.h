/* Takes the input of a fuzzer apart. After its end it gives zeros. */
#ifndef CREWGATE_FUZZ_BYTES_H
#define CREWGATE_FUZZ_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const uint8_t *at, *end;
} input;

static inline uint64_t take(input *in, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; i++)
    if (in->at < in->end) value |= (uint64_t)*in->at++ << 8 * i;
  return value;
}

/* End the process and print the place, if a condition that holds for every input does not hold. */
#define REQUIRE(condition)                                                        \
  do {                                                                            \
    if (!(condition)) {                                                           \
      fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);     \
      abort();                                                                    \
    }                                                                             \
  } while (0)

#endif
