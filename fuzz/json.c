/* Which JSON texts a token may hold, the texts of its claims, and how long a text is outside. */
#include "bytes.h"
#include "claim_text.h"
#include "json_count.h"
#include "strict_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static int prepared;
  unsigned char id[16];
  if (!prepared) claim_prepare(), prepared = 1;
  uint8_t *text = malloc(n ? n : 1);
  memcpy(text, data, n);
  int nulls = json_scan_object(text, n);
  REQUIRE(nulls >= -1 && nulls <= (int)n);
  if (nulls >= 0) {
    REQUIRE(n <= TOKEN_BYTES_MAX);
    for (size_t at = 0; at < n; at++) /* no control character but white space between values */
      REQUIRE(text[at] >= 0x20 || json_blank(text[at]));
    REQUIRE(json_count_members(text, n) <= JSON_MEMBERS_MAX);
    /* A text that ends earlier is not whole, whatever ends it. */
    size_t end = n;
    while (end && json_blank(text[end - 1])) end--;
    REQUIRE(json_scan_object(text, end - 1) == -1);
  }
  REQUIRE(json_count_members(text, n) <= n);
  claim_is_text(text, n);
  if (claim_uuid(text, n, id)) REQUIRE(n == 36 && claim_is_text(text, n));
  if (claim_is_tool_name(text, n)) {
    REQUIRE(claim_is_pattern(text, n) && claim_is_text(text, n));
    REQUIRE(claim_matches(text, n, text, n));
  }
  free(text);
  return 0;
}
