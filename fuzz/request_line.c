/* Method, target, authority and Content-Length of a stranger: one input as each of them. */
#include "bytes.h"
#include "request_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static int prepared;
  if (!prepared) line_prepare(), prepared = 1;
  uint8_t *text = malloc(n ? n : 1);
  memcpy(text, data, n);
  int method = line_is(text, n, IN_METHOD), target = line_is(text, n, IN_TARGET);
  for (size_t at = 0; at < n; at++) {
    if (method) REQUIRE(text[at] > ' ' && text[at] < 0x7f && !memchr("\"(),/:;<=>?@[\\]{}", text[at], 17));
    if (target) REQUIRE(text[at] > ' ' && text[at] < 0x7f && text[at] != '#');
  }
  if (line_is_authority(text, n)) {
    REQUIRE(n && !memchr(text, '@', n) && !memchr(text, '%', n) && !memchr(text, '/', n));
    REQUIRE(line_same(text, n, text, n) && !line_same(text, n, text, n - 1));
  }
  int64_t length = line_length(text, n);
  if (length >= 0) {
    char digits[32];
    snprintf(digits, sizeof digits, "%0*lld", (int)n, (long long)length);
    REQUIRE(n <= 18 && memcmp(digits, text, n) == 0);
  }
  free(text);
  return 0;
}
