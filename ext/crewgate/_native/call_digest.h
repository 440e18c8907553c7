/* Digests of calls and answers, by which the rules on branches compare them (branch_activity.h).
 *
 * Two JSON texts have one digest if they differ only in blanks, escapes and the order of members: the
 * digests of the members of an object are added. Members that a tool's owner calls volatile are left
 * out. A text that is not JSON is compared byte by byte.
 *
 * The mixing function is the multiplication of wyhash (Wang Yi 2019): 128 bits of a product, folded.
 * The key is the table's, so that a digest in the audit does not tell what was called. A client that
 * makes two of its calls collide is only taken to repeat itself. */
#ifndef CREWGATE_CALL_DIGEST_H
#define CREWGATE_CALL_DIGEST_H

#include <stdlib.h>

#include "branch_activity.h"
#include "json_text.h"

enum { CG_DIGEST_LEVELS_MAX = 64, CG_VOLATILE_MAX = 16 };

typedef struct {
  const uint64_t *key; /* two words */
  json_text left_out[CG_VOLATILE_MAX]; /* names of members */
  unsigned left_out_count;
} cg_digester;

static inline uint64_t cg_mix(uint64_t a, uint64_t b) {
  __uint128_t product = (__uint128_t)(a ^ 0x9e3779b97f4a7c15ull) * (b ^ 0xd1b54a32d192ed03ull);
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t cg_word_at(const unsigned char *at) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

static inline uint64_t cg_half_at(const unsigned char *at) {
  uint32_t half;
  memcpy(&half, at, sizeof half);
  return half;
}

/* Mixes two words into which every byte of at most 16 goes; those of a short text go in twice. */
static inline uint64_t cg_digest_short(uint64_t seed, uint64_t key, const unsigned char *at, size_t n) {
  uint64_t a = 0, b = 0;
  if (n >= 8) {
    a = cg_word_at(at), b = cg_word_at(at + n - 8);
  } else if (n >= 4) {
    a = cg_half_at(at), b = cg_half_at(at + n - 4);
  } else if (n > 0) {
    a = (uint64_t)at[0] << 16 | (uint64_t)at[n / 2] << 8 | at[n - 1];
  }
  return cg_mix(seed ^ a, key ^ b);
}

/* Kind and size are spread over a word each: so "1" and eight zeros differ from "2" and nine. */
static inline uint64_t cg_digest_bytes(const cg_digester *d, uint64_t kind, const unsigned char *at,
                                       size_t n) {
  uint64_t sum = d->key[0] ^ kind * 0xa0761d6478bd642full;
  const uint64_t key = d->key[1] ^ n * 0xe7037ed1a0b428dbull;
  if (n <= 16) return cg_digest_short(sum, key, at, n);
  if (n > 64) { /* in four lanes, whose products do not wait for each other */
    uint64_t lane[4] = {sum, sum, sum, sum};
    for (; n > 64; n -= 64, at += 64)
      for (unsigned i = 0; i < 4; i++)
        lane[i] = cg_mix(lane[i] ^ cg_word_at(at + 16 * i), key ^ cg_word_at(at + 16 * i + 8));
    sum = cg_mix(cg_mix(lane[0], lane[1]), cg_mix(lane[2], lane[3]));
  }
  for (; n > 16; n -= 16, at += 16) sum = cg_mix(sum ^ cg_word_at(at), key ^ cg_word_at(at + 8));
  /* The last words overlap those before. */
  return cg_mix(sum ^ cg_word_at(at + n - 16), key ^ cg_word_at(at + n - 8));
}

/* Digests a string from behind its opening quote; 0 if it is none. */
static int cg_digest_string(const cg_digester *d, json_text *t, json_text *content, uint64_t *out) {
  const unsigned char *start = t->at;
  int has_escape = 0;
  for (;;) {
    json_skip_plain(t);
    if (t->at == t->end) return 0;
    if (*t->at == '"') break;
    has_escape |= *t->at == '\\';
    if (json_character(t) == JSON_NO_CHARACTER) return 0;
  }
  *content = (json_text){start, t->at++};
  size_t n = (size_t)(content->end - start);
  if (!has_escape) {
    *out = cg_digest_bytes(d, '"', start, n);
    return 1;
  }
  unsigned char *decoded = malloc(n);
  if (decoded == NULL) return 0;
  *out = cg_digest_bytes(d, '"', decoded, (size_t)(json_decode(*content, decoded) - decoded));
  free(decoded);
  return 1;
}

static int cg_digest_value(const cg_digester *d, json_text *t, unsigned level, uint64_t *out);

static int cg_is_left_out(const cg_digester *d, json_text name) {
  for (unsigned i = 0; i < d->left_out_count; i++)
    if (json_same_string(name, d->left_out[i])) return 1;
  return 0;
}

static int cg_digest_object(const cg_digester *d, json_text *t, unsigned level, uint64_t *out) {
  uint64_t sum = 0, name_digest, value;
  json_text name;
  if (!json_take(t, '}')) {
    do {
      if (!json_take(t, '"') || !cg_digest_string(d, t, &name, &name_digest)) return 0;
      if (!json_take(t, ':') || !cg_digest_value(d, t, level, &value)) return 0;
      if (!cg_is_left_out(d, name)) sum += cg_mix(name_digest, value);
    } while (json_take(t, ','));
    if (!json_take(t, '}')) return 0;
  }
  *out = cg_mix(sum, d->key[0] ^ '{');
  return 1;
}

static int cg_digest_array(const cg_digester *d, json_text *t, unsigned level, uint64_t *out) {
  uint64_t sum = d->key[0] ^ '[', value;
  if (!json_take(t, ']')) {
    do {
      if (!cg_digest_value(d, t, level, &value)) return 0;
      sum = cg_mix(sum, value);
    } while (json_take(t, ','));
    if (!json_take(t, ']')) return 0;
  }
  *out = sum;
  return 1;
}

static int cg_digest_value(const cg_digester *d, json_text *t, unsigned level, uint64_t *out) {
  json_text content;
  json_skip_blank(t);
  if (t->at == t->end) return 0;
  const unsigned char *start = t->at;
  switch (*start) {
  case '{':
    t->at++;
    return level < CG_DIGEST_LEVELS_MAX && cg_digest_object(d, t, level + 1, out);
  case '[':
    t->at++;
    return level < CG_DIGEST_LEVELS_MAX && cg_digest_array(d, t, level + 1, out);
  case '"':
    t->at++;
    return cg_digest_string(d, t, &content, out);
  case 't':
    if (!json_literal(t, "true", 4)) return 0;
    break;
  case 'f':
    if (!json_literal(t, "false", 5)) return 0;
    break;
  case 'n':
    if (!json_literal(t, "null", 4)) return 0;
    break;
  default:
    if (!json_number(t)) return 0;
  }
  *out = cg_digest_bytes(d, '0', start, (size_t)(t->at - start));
  return 1;
}

/* Digests a body: as JSON if it is an object or an array. */
static uint64_t cg_digest_body(const cg_digester *d, const unsigned char *body, size_t n) {
  json_text t = {body, body + n};
  uint64_t out;
  json_skip_blank(&t);
  if (t.at < t.end && (*t.at == '{' || *t.at == '[') && cg_digest_value(d, &t, 0, &out)) {
    json_skip_blank(&t);
    if (t.at == t.end) return out;
  }
  return cg_digest_bytes(d, 'b', body, n);
}

/* Digests the parameters of a query in any order. */
static uint64_t cg_digest_query(const cg_digester *d, const unsigned char *query, size_t n) {
  const unsigned char *end = query + n;
  uint64_t sum = 0;
  while (query < end) {
    const unsigned char *at = memchr(query, '&', (size_t)(end - query));
    if (at == NULL) at = end;
    sum += cg_digest_bytes(d, '&', query, (size_t)(at - query));
    query = at + 1;
  }
  return sum;
}

static inline uint64_t cg_known(uint64_t digest) { return digest <= CG_CALL_EXEMPT ? digest + 2 : digest; }

/* Digests a call: never one of the two values that stand for no digest. */
static uint64_t cg_digest_call(const cg_digester *d, const unsigned char *method, size_t method_size,
                               const unsigned char *path, size_t path_size,
                               const unsigned char *query, size_t query_size,
                               const unsigned char *body, size_t body_size) {
  uint64_t sum = cg_digest_bytes(d, 'm', method, method_size);
  sum = cg_mix(sum, cg_digest_bytes(d, 'p', path, path_size));
  if (query_size) sum = cg_mix(sum, cg_digest_query(d, query, query_size));
  if (body_size) sum = cg_mix(sum, cg_digest_body(d, body, body_size));
  return cg_known(sum);
}

#endif
