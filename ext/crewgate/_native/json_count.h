/* Counts the values in the outermost object or array of a JSON text: the cost of reading them one
 * by one. It does not check that the text is JSON, and reads every byte once. */
#ifndef CREWGATE_OUTLINE_H
#define CREWGATE_OUTLINE_H

#include <stddef.h>

static inline size_t json_count_members(const unsigned char *text, size_t n) {
  size_t count = 0, depth = 0, in_string = 0, any = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = text[i];
    if (in_string) {
      if (c == '\\') i++;
      else if (c == '"') in_string = 0;
      continue;
    }
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    if (c == '[' || c == '{') {
      any |= depth == 1;
      depth++;
      continue;
    }
    if (c == ']' || c == '}') {
      if (depth) depth--;
      continue;
    }
    in_string = c == '"';
    if (depth == 1) {
      any = 1;
      count += c == ',';
    }
  }
  return any ? count + 1 : 0;
}

#endif
