/* Digests of calls and bodies: one for all spellings of a JSON text, and none that means nothing.
 *
 * Input: how long the name of a volatile member is, that name, then the body. */
#include "bytes.h"
#include "call_digest.h"

/* Writes a JSON text with a blank behind each sign outside of strings, and all ASCII in strings
 * escaped; its size. */
static size_t spell_otherwise(const uint8_t *text, size_t n, uint8_t *out) {
  static const char digits[] = "0123456789aBcDeF";
  uint8_t *to = out;
  int in_string = 0;
  for (size_t at = 0; at < n; at++) {
    uint8_t c = text[at];
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\') { /* it is spelled otherwise already */
      size_t size = at + 5 < n && text[at + 1] == 'u' ? 6 : 2;
      if (size > n - at) size = n - at;
      memcpy(to, text + at, size);
      to += size, at += size - 1;
    } else if (in_string && c >= 0x20 && c < 0x7f && c != '"') {
      memcpy(to, "\\u00", 4);
      to[4] = (uint8_t)digits[c >> 4], to[5] = (uint8_t)digits[c & 15];
      to += 6;
    } else {
      *to++ = c;
      if (!in_string && strchr("{}[]:,\"", c)) *to++ = ' ';
    }
  }
  return (size_t)(to - out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const uint64_t key[2] = {0x0123456789abcdef, 0xfedcba9876543210};
  input in = {data, data + n};
  size_t size = (size_t)take(&in, 1), rest = (size_t)(in.end - in.at);
  size = size < rest ? size : rest;
  rest -= size;
  uint8_t *name = malloc(size ? size : 1), *body = malloc(rest ? rest : 1);
  uint8_t *other = malloc(6 * rest + 1);
  memcpy(name, in.at, size);
  memcpy(body, in.at + size, rest);
  cg_digester all = {.key = key}, some = {key, {{name, name + size}}, 1};
  uint64_t found = 0, again = cg_digest_body(&all, body, rest);
  REQUIRE(again == cg_digest_body(&all, body, rest));
  REQUIRE(cg_digest_call(&some, name, size, body, rest, body, rest, body, rest) > CG_CALL_EXEMPT);
  json_text t = {body, body + rest};
  json_skip_blank(&t);
  int is_compound = t.at < t.end && (*t.at == '{' || *t.at == '[');
  int is_json = is_compound && cg_digest_value(&all, &t, 0, &found);
  json_skip_blank(&t);
  if (is_json && t.at == t.end) {
    REQUIRE(found == again);
    size_t spelled = spell_otherwise(body, rest, other);
    REQUIRE(cg_digest_body(&all, other, spelled) == found);
    REQUIRE(cg_digest_body(&some, other, spelled) == cg_digest_body(&some, body, rest));
  }
  free(name);
  free(body);
  free(other);
  return 0;
}
