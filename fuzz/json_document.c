/* Which JSON documents are read, and where their members are found. */
#include "bytes.h"
#include "json_document.h"
#include "json_members.h"
#include "strict_json.h"

/* The hash of "abcdefghijk" with the key 0, as CPython's siphash13 gives it. */
static void check_hash(void) {
  sip_state s;
  sip_start(&s, (const uint64_t[2]){0, 0});
  sip_add(&s, (const unsigned char *)"abcdefghijk", 3);
  sip_add(&s, (const unsigned char *)"defghijk", 8);
  REQUIRE(sip_end(&s) == 0x14215fc65e2c3bd4ull);
}

/* A walk over an object ends at its last byte, and finds each of its members again. */
static void walk(json_text object) {
  json_text rest = object, name, value, found, misspelt;
  if (!json_take(&rest, '{')) return;
  while (json_next_member(&rest, &name, &value)) {
    REQUIRE(value.at >= object.at && value.end <= object.end && value.at < value.end);
    json_wanted wanted;
    size_t n = (size_t)(name.end - name.at);
    int plain = memchr(name.at, '\\', n) == NULL;
    if (plain && json_want(&wanted, (const char *)name.at, n) &&
        json_find(object, &wanted, 1, &found, &misspelt))
      REQUIRE(found.at == value.at && found.end == value.end);
    walk(value);
  }
  REQUIRE(json_take(&rest, '}') && rest.at == object.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static json_document d;
  check_hash();
  uint8_t *text = malloc(n ? n : 1); /* of this size: what is read beyond it is found */
  memcpy(text, data, n);
  d.values_max = 512;
  json_check_document(&d, text, n);
  REQUIRE(d.text.at >= text && d.text.at <= text + n);
  REQUIRE(d.depth <= JSON_LEVELS_MAX && d.values <= d.values_max);
  if (d.fault == JSON_SOUND) {
    REQUIRE(d.text.at == text + n && d.depth == 0);
    json_text whole = {text, text + n};
    json_skip_blank(&whole);
    while (json_blank(whole.end[-1])) whole.end--;
    json_text skipped = whole;
    json_skip_value(&skipped);
    REQUIRE(skipped.at == whole.end);
    walk(whole);
  } else if (d.fault != JSON_TOO_MANY) {
    REQUIRE(json_scan_object(text, n) == -1); /* the rules for a token are stricter */
  }
  free(text);
  return 0;
}
