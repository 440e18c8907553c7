/* A DPoP proof and the URL in it: an input as a proof, and its parts as URLs and paths. */
#include "bytes.h"
#include "compact_jws.h"
#include "proof_target.h"

enum { PROOF_BYTES_MAX = 2048 };

static const target_origin origin = {(const unsigned char *)"https://a.b", 11, ":443"};

/* A copy of exactly these bytes, so that the sanitizer sees what is read beyond them. */
static uint8_t *copy(const uint8_t *data, size_t n) {
  uint8_t *text = malloc(n ? n : 1);
  memcpy(text, data, n);
  return text;
}

static void split(const uint8_t *text, size_t n) {
  jws_lengths lengths;
  if (!jws_measure(text, n, PROOF_BYTES_MAX, &lengths)) return;
  REQUIRE(lengths.header && lengths.payload);
  REQUIRE(lengths.header + lengths.payload + 2 + SIGNATURE_CHARS == n);
  unsigned char *joined = malloc(SIGNATURE_BYTES + n), *part = malloc(n);
  if (jws_join(text, lengths, joined))
    REQUIRE(memcmp(joined + SIGNATURE_BYTES, text, n - SIGNATURE_CHARS - 1) == 0);
  if (base64url_decode(text, lengths.header, part) == 0)
    json_scan_object(part, base64url_size(lengths.header));
  free(joined);
  free(part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static int prepared;
  if (!prepared) base64url_prepare(), prepared = 1;
  uint8_t *text = copy(data, n);
  split(text, n);
  free(text);
  if (n < 1) return 0;
  size_t first = data[0] % n;
  uint8_t *url = copy(data + 1, first), *path = copy(data + 1 + first, n - 1 - first);
  size_t k = n - 1 - first;
  REQUIRE(target_same_path(path, k, path, k));
  int is_same = target_same_path(url, first, path, k);
  REQUIRE(is_same == target_same_path(path, k, url, first));
  if (target_matches(url, first, &origin, path, k)) {
    REQUIRE(first >= origin.size && k);
    for (size_t at = 0; at < origin.size; at++) REQUIRE((url[at] | 0x20) == (origin.text[at] | 0x20));
    REQUIRE(first == origin.size || memchr("/?#:", url[origin.size], 4));
  }
  /* A URL of the path itself names it, if it has no query or fragment and is absolute. */
  if (k && path[0] == '/' && !memchr(path, '?', k) && !memchr(path, '#', k)) {
    uint8_t *own = malloc(origin.size + k);
    memcpy(own, origin.text, origin.size);
    memcpy(own + origin.size, path, k);
    REQUIRE(target_matches(own, origin.size + k, &origin, path, k));
    free(own);
  }
  free(url);
  free(path);
  return 0;
}
