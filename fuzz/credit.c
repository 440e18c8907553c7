/* Credit moves by any order of operations and none is made or lost: a plain count beside it.
 *
 * Input: bytes, each operation a number, a record, then what it needs. */
#include "small_table.h"

enum { RECORDS = 2, HOLDS = 8, PRICE_MAX = 1 << 30 };

typedef struct {
  uint64_t granted, given_back, settled, burned;
} books;

static small_table s;
static books book[RECORDS];
static cg_hold hold[HOLDS];
static uint64_t spent[RECORDS]; /* of what was settled at once, what can still be undone */

static uint64_t reserved(uint64_t record) {
  uint64_t sum = 0;
  for (int i = 0; i < HOLDS; i++)
    if (hold[i].slot && hold[i].branch == record) sum += hold[i].amount;
  return sum;
}

static uint64_t available(uint64_t record) {
  return book[record].granted - book[record].given_back - book[record].settled -
         book[record].burned - reserved(record);
}

/* What of `amount` burns because a lease that has `had` cannot hold it besides (cg_add_available). */
static uint64_t no_room(uint64_t had, uint64_t amount) {
  uint64_t room = CG_AMOUNT_MAX - had;
  return amount > room ? amount - room : 0;
}

static void check(void) {
  for (uint64_t record = 0; record < RECORDS; record++) {
    cg_seen seen;
    cg_snapshot(&s.t, record, book[record].burned, &seen);
    REQUIRE(seen.available == available(record) && seen.reserved == reserved(record));
    REQUIRE(seen.settled == book[record].settled && seen.burned == book[record].burned);
    REQUIRE(cg_get(&s.t.branch[record].granted) == book[record].granted);
    REQUIRE(cg_get(&s.t.branch[record].given_back) == book[record].given_back);
  }
}

/* What the agent's operations on a lease do; at most what has room is granted (leases.pyx), of which
 * what burned takes its part. */
static void lease(uint64_t operation, uint64_t record, uint64_t amount) {
  cg_branch *branch = &s.t.branch[record];
  uint64_t out = book[record].granted - book[record].given_back - book[record].settled;
  uint64_t room = out < CG_AMOUNT_MAX ? CG_AMOUNT_MAX - out : 0, fits = room < amount ? room : amount;
  if (operation == 0) {
    cg_begin_draw(branch, 1);
    cg_grant(&s.t, branch, fits);
    book[record].granted += fits;
  } else if (operation == 1) {
    cg_lend(&s.t, branch, fits);
    book[record].granted += fits;
  } else if (operation == 2) {
    uint64_t had = available(record), taken = cg_take_back(&s.t, branch, amount);
    REQUIRE(taken == (had < amount ? had : amount));
    book[record].given_back += taken;
  } else {
    cg_begin_draw(branch, amount);
    cg_refuse(&s.t, branch, amount % 3, amount, 0, amount, 0);
    REQUIRE(!(cg_get(&branch->available) & CG_PENDING));
  }
}

static void reserve(uint64_t record, uint64_t amount) {
  uint64_t left, had = available(record), state;
  int place = 0;
  while (place < HOLDS && hold[place].slot) place++;
  if (place == HOLDS) return;
  uint64_t at = 0;
  for (; at < CG_BLOCK_SLOTS; at++)
    if (CG_SLOT(state = cg_get(&s.t.slot[at].state)) == CG_SLOT_FREE) break;
  cg_hold new = {&s.t.slot[at], 0, record, CG_GENERATION(cg_get(&s.t.branch[record].life)), amount};
  cg_slot attribution;
  memset(&attribution, 0, sizeof attribution);
  int taken = cg_reserve(&s.t, &new, 0, EVER, &attribution, &left);
  REQUIRE(taken == (had < amount ? CG_SHORT : CG_TAKEN));
  if (taken == CG_TAKEN) hold[place] = new;
}

static void on_hold(uint64_t operation, cg_hold *held, uint64_t amount) {
  uint64_t left, record = held->branch, had = available(record);
  if (!held->slot) return;
  if (operation == 5) {
    if (amount > PRICE_MAX - held->amount) return; /* as Permit.grow */
    int taken = cg_hold_grow(&s.t, held, amount, &left);
    REQUIRE(taken == (had < amount ? CG_SHORT : CG_TAKEN));
  } else if (operation == 6) {
    uint64_t cost = amount < held->amount ? amount : held->amount;
    uint64_t rest = held->amount - cost;
    REQUIRE(cg_hold_settle(&s.t, held, cost));
    book[record].settled += cost;
    book[record].burned += no_room(had, rest);
    held->slot = NULL;
  } else {
    REQUIRE(cg_slot_end(held->slot, held->state));
    book[record].burned += held->amount;
    held->slot = NULL;
  }
}

static void at_once(uint64_t operation, uint64_t record, uint64_t amount) {
  cg_branch *branch = &s.t.branch[record];
  uint64_t left, had = available(record), generation = CG_GENERATION(cg_get(&branch->life));
  if (operation == 8) {
    int taken = cg_spend(branch, generation, amount, &left);
    REQUIRE(taken == (had < amount ? CG_SHORT : CG_TAKEN));
    if (taken != CG_TAKEN) return;
    book[record].settled += amount;
    spent[record] += amount;
  } else {
    uint64_t undone = amount < spent[record] ? amount : spent[record];
    cg_unspend(&s.t, branch, generation, undone);
    book[record].settled -= undone;
    book[record].burned += no_room(had, undone);
    spent[record] -= undone;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  input in = {data, data + n};
  small_begin(&s);
  memset(book, 0, sizeof book);
  memset(hold, 0, sizeof hold);
  memset(spent, 0, sizeof spent);
  for (uint64_t record = 0; record < RECORDS; record++)
    REQUIRE(small_open(&s, record + 1, NULL, 0, EVER) == (int64_t)record);
  REQUIRE(cg_block_take(&s.t, 0) == 0);
  for (int done = 0; in.at < in.end && done < 200; done++) {
    uint64_t operation = take(&in, 1) % 11, record = take(&in, 1), amount = take(&in, 1);
    if (amount >= 0xf0) amount = take(&in, (amount & 7) + 1);
    if (operation < 4) lease(operation, record % RECORDS, amount);
    else if (operation == 4) reserve(record % RECORDS, amount % (PRICE_MAX + 1));
    else if (operation < 8) on_hold(operation, &hold[record % HOLDS], amount);
    else if (operation < 10) at_once(operation, record % RECORDS, amount % (PRICE_MAX + 1));
    else {
      uint64_t lost;
      for (int i = 0; i < HOLDS; i++) on_hold(7, &hold[i], 0); /* the agent that ends burns them */
      REQUIRE(cg_repair(&s.t, &lost) && lost == 0);
    }
    check();
  }
  cg_private_free(&s.mine);
  return 0;
}
