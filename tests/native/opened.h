/* A record as the agent opens one that lives for ever; for what includes the table before it. */
#ifndef CREWGATE_OPENED_H
#define CREWGATE_OPENED_H

static inline uint32_t opened(cg_table *t, cg_private *mine, uint64_t key, const uint32_t *above,
                              uint64_t parents) {
  const uint64_t keys[2] = {key, key}, path[2] = {7, 7}, never = UINT64_MAX;
  cg_index x = cg_branches(t);
  uint32_t number = mine->free_branches[mine->branches_free - 1];
  cg_open(t, number, keys, path, above, parents, &(cg_lease_report){0});
  cg_amend(&t->branch[number], never, 1, never, 0, never);
  cg_opened(&t->branch[number]);
  cg_enter(t, &x, mine->free_branches, &mine->branches_free);
  return number;
}

#endif
