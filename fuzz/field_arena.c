/* Heads in blocks of a store, beside plain copies of their fields.
 *
 * Input: the bounds of the store, then steps. A step takes a block, gives one back, or adds a field
 * to one: the sizes of its name and its value, and whether it is never indexed. */
#include "bytes.h"
#include "field_arena.h"

enum { BLOCKS = 4, FIELDS = 64, TEXT = 8192, STEPS = 100 };

/* A block that is taken, and what it must hold. */
typedef struct {
  arena_block *block;
  unsigned char text[TEXT];
  size_t text_size, field_count, names[FIELDS], values[FIELDS];
  int flags[FIELDS];
} head;

static void check(const head *head) {
  const arena_block *block = head->block;
  const unsigned char *expected = head->text;
  const unsigned char *end = block->text + block->text_size;
  REQUIRE(block->field_count == head->field_count && block->text_size == head->text_size);
  REQUIRE(block->field_count <= block->field_capacity && block->text_size <= block->text_capacity);
  for (size_t i = 0; i < head->field_count; i++) {
    const message_field *field = &block->fields[i];
    REQUIRE(field->name_size == head->names[i] && field->value_size == head->values[i]);
    REQUIRE(field->is_never_indexed == head->flags[i]);
    REQUIRE(field->name >= block->text && field->value == field->name + field->name_size);
    REQUIRE(field->value + field->value_size <= end);
    REQUIRE(!memcmp(field->name, expected, field->name_size + field->value_size));
    expected += field->name_size + field->value_size;
  }
}

static void add(head *head, input *in) {
  size_t name = (size_t)take(in, 1), value = (size_t)take(in, 2) % 1024;
  int flag = (int)take(in, 1);
  unsigned char *text = head->text + head->text_size;
  if (head->field_count == FIELDS || TEXT - head->text_size < name + value) return;
  for (size_t i = 0; i < name + value; i++)
    text[i] = (unsigned char)(head->field_count * 31 + i);
  unsigned char *alone = malloc(name + value + 1); /* so that a read beyond it is found */
  memcpy(alone, text, name + value);
  REQUIRE(arena_add(head->block, name ? alone : NULL, name, value ? alone + name : NULL, value,
                    flag) == 0);
  free(alone);
  head->names[head->field_count] = name;
  head->values[head->field_count] = value;
  head->flags[head->field_count++] = flag != 0;
  head->text_size += name + value;
}

static void check_store(const arena_store *store) {
  size_t count = 0;
  for (const arena_block *block = store->first; block != NULL; block = block->next, count++)
    REQUIRE(block->text_capacity <= store->text_max && block->field_capacity <= store->field_max);
  REQUIRE(count == store->count && count <= store->count_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static head heads[BLOCKS];
  input in = {data, data + n};
  arena_store store = {NULL, 0, 0, 0, 0};
  store.count_max = (size_t)take(&in, 1) % BLOCKS;
  store.text_max = 1 + (size_t)take(&in, 1);
  store.field_max = 1 + (size_t)take(&in, 1) % 16;
  for (size_t steps = 0; in.at < in.end && steps < STEPS; steps++) {
    uint64_t step = take(&in, 1);
    head *head = &heads[step % BLOCKS];
    if (head->block == NULL) {
      head->block = arena_take(&store);
      head->field_count = head->text_size = 0;
      REQUIRE(head->block != NULL);
    } else if (step / BLOCKS % 8 == 0) {
      check(head);
      arena_give(&store, head->block);
      head->block = NULL;
    } else {
      add(head, &in);
    }
    check_store(&store);
  }
  for (size_t at = 0; at < BLOCKS; at++) {
    if (heads[at].block == NULL) continue;
    check(&heads[at]);
    arena_give(&store, heads[at].block);
    heads[at].block = NULL;
  }
  check_store(&store);
  while (store.first != NULL) arena_free(arena_take(&store));
  return 0;
}
