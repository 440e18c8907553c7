/* Keeps the fields of one message head in one block of memory: an array of fields, and the text of
 * their names and values one behind the other. The store keeps an unused block for the next head,
 * so that a request needs no allocation. It bounds the number and the size of its blocks.
 * The caller holds the GIL, which guards the list of kept blocks. */
#ifndef CREWGATE_REQUEST_ARENA_H
#define CREWGATE_REQUEST_ARENA_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "message_field.h"

typedef struct arena_block {
  struct arena_block *next; /* of the kept blocks */
  message_field *fields;
  unsigned char *text;
  size_t field_count, field_capacity;
  size_t text_size, text_capacity;
} arena_block;

/* The unused blocks of this module; it frees blocks of more than `text_max` or `field_max`. */
typedef struct {
  arena_block *first;
  size_t count, count_max;
  size_t text_max, field_max;
} arena_store;

static inline void arena_free(arena_block *block) {
  free(block->fields);
  free(block->text);
  free(block);
}

/* Return an empty block, or NULL without memory. */
static inline arena_block *arena_take(arena_store *store) {
  arena_block *block = store->first;
  if (block != NULL) {
    store->first = block->next;
    store->count -= 1;
    block->field_count = block->text_size = 0;
    return block;
  }
  block = calloc(1, sizeof *block);
  if (block == NULL)
    return NULL;
  block->field_capacity = store->field_max;
  block->text_capacity = store->text_max;
  block->fields = malloc(block->field_capacity * sizeof *block->fields);
  block->text = malloc(block->text_capacity);
  if (block->fields == NULL || block->text == NULL) {
    arena_free(block);
    return NULL;
  }
  return block;
}

/* Keep a block for the next head, or free it. */
static inline void arena_give(arena_store *store, arena_block *block) {
  if (store->count >= store->count_max || block->text_capacity > store->text_max
        || block->field_capacity > store->field_max) {
    arena_free(block);
    return;
  }
  block->next = store->first;
  store->first = block;
  store->count += 1;
}

/* Make room for `size` more bytes of text, and have all fields point to where it is now. */
static inline int arena_grow_text(arena_block *block, size_t size) {
  size_t capacity = block->text_capacity;
  while (capacity - block->text_size < size)
    capacity *= 2;
  unsigned char *text = malloc(capacity);
  if (text == NULL)
    return -1;
  memcpy(text, block->text, block->text_size);
  for (size_t i = 0; i < block->field_count; i++) {
    message_field *field = &block->fields[i];
    field->name = text + (field->name - block->text);
    field->value = text + (field->value - block->text);
  }
  free(block->text);
  block->text = text;
  block->text_capacity = capacity;
  return 0;
}

static inline int arena_grow_fields(arena_block *block) {
  size_t capacity = 2 * block->field_capacity;
  message_field *fields = realloc(block->fields, capacity * sizeof *fields);
  if (fields == NULL)
    return -1;
  block->fields = fields;
  block->field_capacity = capacity;
  return 0;
}

/* Append a copy of a field; return -1 without memory. The caller bounds the sizes. */
static inline int arena_add(arena_block *block, const unsigned char *name, size_t name_size,
              const unsigned char *value, size_t value_size, int is_never_indexed) {
  size_t size = name_size + value_size;
  if (block->text_capacity - block->text_size < size && arena_grow_text(block, size) < 0)
    return -1;
  if (block->field_count == block->field_capacity && arena_grow_fields(block) < 0)
    return -1;
  unsigned char *at = block->text + block->text_size;
  message_field *field = &block->fields[block->field_count++];
  if (name_size)
    memcpy(at, name, name_size);
  if (value_size)
    memcpy(at + name_size, value, value_size);
  field->name = at;
  field->value = at + name_size;
  field->name_size = name_size;
  field->value_size = value_size;
  field->is_never_indexed = is_never_indexed != 0;
  block->text_size += size;
  return 0;
}

#endif
