/* A damaged table is repaired in time that grows with its records, not with their square.
 *
 * Each record names only the one before it as its parent, the worst that a repair can meet, and the
 * first one's parent is not there. Usage: damaged RECORDS; prints how many words the repair read. */
#include <stdio.h>
#include <stdlib.h>

#include "layout.h"

static uint64_t reads;
static uint64_t layout_get(const cg_word *word) { return cg_get(word); }
static uint64_t read_word(const cg_word *word) { return reads++, layout_get(word); }
#define cg_get read_word
#include "reclaim.h"
#include "opened.h"

int main(int count, char **arguments) {
  uint64_t records = count > 1 ? strtoull(arguments[1], NULL, 10) : 64, lost;
  cg_table t;
  cg_private mine;
  uint64_t bytes = cg_map(&t, NULL, records, 64, 64, 2, 1024);
  void *memory = aligned_alloc(4096, bytes);
  if (!memory) return 2;
  memset(memory, 0, bytes);
  cg_map(&t, memory, records, 64, 64, 2, 1024);
  if (!cg_count(&t, &mine)) return 2;
  for (uint64_t number = 0; number < records; number++) {
    /* Backwards, so that a repair in the order of the records meets each before its parent. */
    uint32_t above = (uint32_t)(number + 1);
    opened(&t, &mine, number + 1, &above, 1);
  }
  reads = 0;
  cg_drop_damaged(&t);
  for (uint64_t number = 0; number < records; number++)
    if (CG_STATE(layout_get(&t.branch[number].life)) != CG_FREE) return 1;
  printf("%llu\n", (unsigned long long)reads);
  free(memory);
  cg_private_free(&mine);
  return 0;
}
