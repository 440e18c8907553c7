/* A field's name among others: a glance never says no of one that was added.
 *
 * Input: how long the first name is, that name, then the other one. */
#include "bytes.h"
#include "field_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static name_glance glance;
  unsigned char map[256], mapped[256];
  input in = {data, data + n};
  size_t size = (size_t)take(&in, 1), rest = (size_t)(in.end - in.at);
  size = size < rest ? size : rest;
  uint8_t *name = malloc(size ? size : 1), *other = malloc(rest - size ? rest - size : 1);
  memcpy(name, in.at, size);
  memcpy(other, in.at + size, rest - size);
  for (int c = 0; c < 256; c++) map[c] = (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
  memset(&glance, 0, sizeof glance);
  REQUIRE(!name_may_be_among(&glance, name, size));
  name_glance_add(&glance, name, size);
  REQUIRE(name_may_be_among(&glance, name, size));
  if (size == rest - size && memcmp(name, other, size) == 0)
    REQUIRE(name_may_be_among(&glance, other, rest - size));
  REQUIRE(name_is_plain(name, size, map) != name_is_odd(name, size, map));
  for (size_t at = 0; at < size; at++) mapped[at] = map[name[at]];
  REQUIRE(name_begins(name, size, map, mapped, size) && name_is_plain(mapped, size, map));
  name_begins(other, rest - size, map, mapped, size);
  free(name);
  free(other);
  return 0;
}
