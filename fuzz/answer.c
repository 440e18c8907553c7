/* An answer of a tool's server, cut in two: it is read in one way, and within its bytes.
 *
 * Input: whether it answers a HEAD, where it is cut, the answer. */
#include "bytes.h"
#include "plain_answer.h"

enum { BODY_BYTES_MAX = 1000 };

static int is_within(answer_slice slice, size_t n) {
  return slice.begin <= n && slice.size <= n - slice.begin;
}

static void check(const plain_answer *a, const uint8_t *text, size_t n) {
  uint32_t body = 0, after = 0;
  REQUIRE(n >= 17 && !memcmp(text, "HTTP/1.1 ", 9) && a->status >= 200 && a->status <= 599);
  REQUIRE(a->field_count <= ANSWER_FIELDS_MAX && a->chunk_count <= ANSWER_CHUNKS_MAX);
  for (uint32_t i = 0; i < a->field_count; i++) {
    REQUIRE(is_within(a->fields[i].name, n) && is_within(a->fields[i].value, n));
    REQUIRE(a->fields[i].name.size && a->fields[i].name.begin >= after);
    after = a->fields[i].value.begin + a->fields[i].value.size;
    for (uint32_t at = a->fields[i].name.begin; at < after; at++)
      REQUIRE(text[at] != '\r' && text[at] != '\n' && text[at]);
  }
  for (uint32_t i = 0; i < a->chunk_count; i++) {
    REQUIRE(is_within(a->chunks[i], n) && a->chunks[i].size && a->chunks[i].begin >= after);
    after = a->chunks[i].begin + a->chunks[i].size;
    body += a->chunks[i].size;
  }
  REQUIRE(body == a->body_size && body <= BODY_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static plain_answer whole, cut;
  input in = {data, data + n};
  int is_for_head = (int)take(&in, 1) & 1;
  size_t at = (size_t)take(&in, 2), size = (size_t)(in.end - in.at);
  uint8_t *text = malloc(size ? size : 1), *first;
  memcpy(text, in.at, size);
  at = size ? at % (size + 1) : 0;
  answer_begin(&whole, BODY_BYTES_MAX, is_for_head);
  answer_state state = answer_read(&whole, text, (uint32_t)size);
  if (state == ANSWER_COMPLETE) check(&whole, text, size);

  first = malloc(at ? at : 1); /* alone, so that nothing behind it is read */
  memcpy(first, text, at);
  answer_begin(&cut, BODY_BYTES_MAX, is_for_head);
  answer_state begun = answer_read(&cut, first, (uint32_t)at);
  if (begun == ANSWER_COMPLETE) {
    check(&cut, first, at);
    REQUIRE(at == size ? state == begun : state == ANSWER_NOT_PLAIN);
  } else if (begun == ANSWER_NOT_PLAIN) {
    REQUIRE(state == begun);
  } else {
    REQUIRE(answer_read(&cut, text, (uint32_t)size) == state);
    if (state == ANSWER_COMPLETE) {
      REQUIRE(cut.status == whole.status && cut.field_count == whole.field_count);
      REQUIRE(cut.chunk_count == whole.chunk_count && cut.body_size == whole.body_size);
      REQUIRE(!memcmp(cut.fields, whole.fields, cut.field_count * sizeof *cut.fields));
      REQUIRE(!memcmp(cut.chunks, whole.chunks, cut.chunk_count * sizeof *cut.chunks));
    }
  }
  free(first);
  free(text);
  return 0;
}
