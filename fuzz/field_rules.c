/* Which fields go on: a filter with a few names, beside a slow loop over them.
 *
 * Input: a bit for the kind of message, the token's length and the token, then fields: each a
 * length and a name, a length and a value. */
#include "bytes.h"
#include "field_rules.h"

enum { FIELDS = 16 };

static const char *const words[] = {"connection", "cookie", "keep-alive", "te"};

static int slow_is_dropped(const unsigned char *name, size_t n) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strlen(words[i]) == n && memcmp(words[i], name, n) == 0) return 1;
  return 0;
}

static int slow_has(const unsigned char *value, size_t n, const unsigned char *token, size_t m) {
  for (size_t at = 0; m && at + m <= n; at++)
    if (memcmp(value + at, token, m) == 0) return 1;
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  unsigned char map[256];
  input in = {data, data + n};
  field_rules rules;
  message_field fields[FIELDS];
  const message_field *kept[FIELDS];
  uint8_t *held[2 * FIELDS + 1];
  size_t count = 0, blocks = 0;
  for (int c = 0; c < 256; c++) map[c] = (unsigned char)(c == '_' || c == '.' ? '-' : c);
  memset(&rules, 0, sizeof rules);
  rules.map = map;
  rules.ours = (const unsigned char *)"x-crewgate-";
  rules.ours_size = 11;
  rules.is_request = (int)take(&in, 1) & 1;
  REQUIRE(name_set_open(&rules.dropped, sizeof words / sizeof *words));
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    name_set_add(&rules.dropped, (const unsigned char *)words[i], strlen(words[i]));
  name_set_sort(&rules.dropped);
#define TEXT(text, size)                                              \
  do {                                                                \
    size_t asked = (size_t)take(&in, 1), left = (size_t)(in.end - in.at); \
    size = asked < left ? asked : left;                               \
    text = held[blocks++] = malloc(size ? size : 1);                  \
    memcpy(held[blocks - 1], in.at, size);                            \
    in.at += size;                                                    \
  } while (0)
  const uint8_t *token;
  size_t token_size;
  TEXT(token, token_size);
  while (in.at < in.end && count < FIELDS) {
    TEXT(fields[count].name, fields[count].name_size);
    TEXT(fields[count].value, fields[count].value_size);
    count++;
  }
  ptrdiff_t found = fields_select(&rules, fields, count, token, token_size, kept);
  REQUIRE(found >= FIELDS_UNUSUAL && found <= (ptrdiff_t)count);
  for (ptrdiff_t at = 0, next = 0; found >= 0 && at < (ptrdiff_t)count; at++) {
    const message_field *field = &fields[at];
    int goes = next < found && kept[next] == field;
    if (slow_is_dropped(field->name, field->name_size)) REQUIRE(!goes);
    if (slow_has(field->value, field->value_size, token, token_size)) REQUIRE(!goes);
    next += goes;
    if (at + 1 == (ptrdiff_t)count) REQUIRE(next == found);
  }
  if (found >= 0) {
    size_t size = field_lines_size(kept, (size_t)found);
    char *lines = malloc(size ? size : 1);
    REQUIRE(field_lines_put(lines, kept, (size_t)found) == lines + size);
    free(lines);
  }
  while (blocks) free(held[--blocks]);
  name_set_close(&rules.dropped);
  return 0;
}
