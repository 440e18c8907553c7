/* Where a stranger's token may hide: a query, a field. */
#include "bytes.h"
#include "bearer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  size_t begin = 0, size = 0;
  uint8_t *text = malloc(n ? n : 1);
  memcpy(text, data, n);
  int hidden = bearer_in_query(text, n);
  REQUIRE(hidden == 0 || hidden == 1);
  if (bearer_scheme(text, n) != BEARER_OTHER_SCHEME) {
    bearer_token(text, n, &begin, &size);
    REQUIRE(n >= 4 && begin <= n && size <= n - begin);
    REQUIRE(size == 0 || (text[begin] != ' ' && text[begin + size - 1] != ' '));
    if (bearer_is_one(text + begin, size))
      for (size_t at = 0; at < size; at++) REQUIRE(text[begin + at] != ' ');
  }
  bearer_search search = {0};
  int is_valid = bearer_take(&search, 1, text, n);
  if (search.token) {
    REQUIRE(is_valid && search.token >= text && search.token + search.size <= text + n);
    REQUIRE(bearer_is_one(search.token, search.size));
    REQUIRE(!bearer_take(&search, 0, text, n)); /* a second token */
  }
  REQUIRE(!bearer_take(&search, 1, text, n)); /* a second Authorization */
  free(text);
  return 0;
}
