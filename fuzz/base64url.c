/* Base64url: what is decoded has one form, the one that encoding it gives. */
#include "bytes.h"
#include "base64url.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static int prepared;
  if (!prepared) base64url_prepare(), prepared = 1;
  size_t size = base64url_size(n);
  uint8_t *text = malloc(n ? n : 1), *out = malloc(size ? size : 1);
  memcpy(text, data, n);
  if (base64url_decode(text, n, out) == 0) {
    REQUIRE(n % 4 != 1);
    for (size_t i = 0; i < n; i++) { /* the slow way back, bit by bit */
      unsigned value = 0;
      for (size_t bit = 6 * i; bit < 6 * i + 6; bit++)
        value = value << 1 | (bit / 8 < size ? out[bit / 8] >> (7 - bit % 8) & 1 : 0);
      REQUIRE(text[i] == (uint8_t)alphabet[value]);
    }
  }
  free(text);
  free(out);
  return 0;
}
