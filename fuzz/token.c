/* The compact JWS of a stranger: split, and each part again by itself. */
#include "bytes.h"
#include "compact_jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static jws_parts parts, again;
  static int prepared;
  if (!prepared) base64url_prepare(), claim_prepare(), prepared = 1;
  uint8_t *token = malloc(n ? n : 1); /* of this size: what is read beyond it is found */
  memcpy(token, data, n);
  if (jws_split(token, n, &parts)) {
    REQUIRE(n <= TOKEN_BYTES_MAX && parts.kid_size >= 1 && parts.kid_size <= CLAIM_CHARS_MAX);
    REQUIRE(claim_is_text(parts.kid, parts.kid_size));
    REQUIRE(parts.joined_size == n - SIGNATURE_CHARS - 1 + SIGNATURE_BYTES);
    REQUIRE(memcmp(parts.joined + SIGNATURE_BYTES, token, n - SIGNATURE_CHARS - 1) == 0);
    json_scan_object(parts.payload, parts.payload_size);
    /* One token for one content: no other character at any one place gives the same. */
    size_t at = parts.payload_size % n;
    token[at] ^= 1;
    if (jws_split(token, n, &again))
      REQUIRE(again.joined_size != parts.joined_size ||
              memcmp(again.joined, parts.joined, parts.joined_size) != 0);
  }
  free(token);
  return 0;
}
