/* A table into which anything was written beside its header: it is repaired, read and used.
 *
 * Nothing reads or writes beyond the table, no sum is undefined, nothing goes on for ever; and after
 * a repair every record that is in use is found, under ancestors that are. Input: operations, each a
 * number and what it needs; `write` puts any word anywhere. */
#include "small_table.h"

static small_table s;

static void check_header(input *in) {
  cg_header header;
  memcpy(&header, s.t.header, sizeof header);
  ((uint8_t *)&header)[take(in, 1) % offsetof(cg_header, fresh_until)] ^= (uint8_t)take(in, 1);
  if (take(in, 1) & 1) header.checksum = cg_checksum(&header);
  if (cg_validate(&header, s.t.bytes) == CG_OK) {
    cg_table scratch;
    REQUIRE(cg_map(&scratch, NULL, header.branches, header.revocations, header.reservations,
                   header.attachments, header.proofs) == header.bytes && header.bytes <= s.t.bytes);
  }
}

static void write_word(input *in) {
  uint64_t from = offsetof(cg_header, fresh_until) / 8, words = s.t.bytes / 8;
  uint64_t at = from + take(in, 2) % (words - from), kind = take(in, 1);
  cg_word *word = (cg_word *)s.t.header + at;
  cg_put(word, kind < 0x40 ? kind : kind < 0x80 ? cg_get(word) ^ 1ull << (kind & 63) : take(in, 8));
}

static void check_whole(void) {
  cg_index x = cg_branches(&s.t), y = cg_revocations(&s.t);
  for (uint64_t number = 0; number < BRANCHES; number++) {
    const cg_branch *branch = &s.t.branch[number];
    if (CG_STATE(cg_get(&branch->life)) == CG_FREE) continue;
    REQUIRE(cg_get(&branch->parent_count) <= CG_PARENTS);
    for (uint64_t i = 0; i < cg_get(&branch->parent_count); i++)
      REQUIRE(branch->parents[i] < BRANCHES &&
              CG_STATE(cg_get(&s.t.branch[branch->parents[i]].life)) == CG_LIVE);
    if (CG_STATE(cg_get(&branch->life)) == CG_LIVE)
      REQUIRE(cg_lookup(&s.t, &x, cg_get(&branch->key[0]), cg_get(&branch->key[1])) >= 0);
  }
  for (uint64_t number = 0; number < REVOCATIONS; number++) {
    const cg_revocation *entry = &s.t.revocation[number];
    if (CG_STATE(cg_get(&entry->life)) == CG_LIVE)
      REQUIRE(cg_lookup(&s.t, &y, cg_get(&entry->key[0]), cg_get(&entry->key[1])) >= 0);
  }
}

/* Another agent begins where one ended. */
static void reopen(void) {
  uint64_t lost;
  REQUIRE(cg_repair(&s.t, &lost));
  cg_private_free(&s.mine);
  REQUIRE(cg_count(&s.t, &s.mine));
  check_whole();
}

static void end_key(uint64_t key, uint64_t held_for) {
  const uint64_t keys[2] = {key, key};
  cg_index x = cg_revocations(&s.t);
  if (!s.mine.revocations_free || cg_lookup(&s.t, &x, key, key) >= 0) return;
  uint64_t number = s.mine.free_revocations[s.mine.revocations_free - 1];
  cg_write_revocation(&s.t.revocation[number], keys, key, 0, 0, held_for, key);
  cg_enter(&s.t, &x, s.mine.free_revocations, &s.mine.revocations_free);
}

static void forget(void) {
  uint64_t crews[REVOCATIONS + 1], sums[2 * BRANCHES] = {0}, most = BRANCHES;
  cg_index x = cg_branches(&s.t);
  cg_sum_slots(&s.t, sums);
  REQUIRE(cg_forget_revocations(&s.t, &s.mine, EVER, EVER, REVOCATIONS, crews) <= REVOCATIONS);
  for (int64_t number; (number = cg_next_expired(&s.t, &s.mine, sums, EVER, EVER, &most)) >= 0;)
    cg_forget_branch(&s.t, &x, &s.mine, (uint64_t)number);
}

static void read_all(uint64_t key) {
  uint64_t sums[2 * BRANCHES] = {0};
  cg_index x = cg_branches(&s.t);
  cg_seen seen;
  int64_t number = cg_lookup(&s.t, &x, key, key);
  REQUIRE(number < BRANCHES);
  cg_is_revoked(&s.t, key, key, key);
  cg_sum_slots(&s.t, sums);
  cg_snapshot(&s.t, key % BRANCHES, key, &seen);
  cg_snapshot_after(&s.t, key % BRANCHES, sums, key, &seen);
}

static void open_one(input *in) {
  uint32_t above[CG_PARENTS];
  uint64_t count = take(in, 1) % (CG_PARENTS + 1);
  for (uint64_t i = 0; i < count; i++) {
    above[i] = (uint32_t)(take(in, 1) % BRANCHES);
    if (CG_STATE(cg_get(&s.t.branch[above[i]].life)) != CG_LIVE) return;
  }
  small_open(&s, take(in, 1), above, count, take(in, 1) & 1 ? EVER : 0);
}

/* One call of a worker, and what the agent does to a lease. */
static void use(uint64_t record, uint64_t amount) {
  cg_branch *branch = &s.t.branch[record];
  cg_slot attribution;
  uint64_t left;
  if (CG_STATE(cg_get(&branch->life)) != CG_LIVE) return;
  cg_begin_draw(branch, amount);
  cg_grant(&s.t, branch, amount);
  cg_lend(&s.t, branch, amount);
  int64_t block = cg_block_take(&s.t, 1);
  uint64_t slot = block < 0 ? record : (uint64_t)block * CG_BLOCK_SLOTS;
  cg_hold hold = {&s.t.slot[slot], 0, record, CG_GENERATION(cg_get(&branch->life)), amount};
  memset(&attribution, 0, sizeof attribution);
  if (cg_reserve(&s.t, &hold, 1, EVER, &attribution, &left) == CG_TAKEN) {
    cg_hold_grow(&s.t, &hold, amount, &left);
    cg_hold_settle(&s.t, &hold, amount / 2);
  }
  if (cg_spend(branch, hold.generation, amount, &left) == CG_TAKEN)
    cg_unspend(&s.t, branch, hold.generation, amount);
  cg_take_back(&s.t, branch, amount);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  input in = {data, data + n};
  small_begin(&s);
  for (int done = 0; in.at < in.end && done < 200; done++) {
    switch (take(&in, 1) % 8) {
    case 0: write_word(&in); break;
    case 1: reopen(); break;
    case 2: read_all(take(&in, 1)); break;
    case 3: open_one(&in); break;
    case 4: end_key(take(&in, 1), take(&in, 1)); break;
    case 5: forget(); break;
    case 6: use(take(&in, 1) % BRANCHES, take(&in, 4)); break;
    default: check_header(&in);
    }
  }
  cg_private_free(&s.mine);
  return 0;
}
