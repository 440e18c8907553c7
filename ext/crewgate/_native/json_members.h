/* Finds members of an object in a JSON text, by their names.
 *
 * json_document.h has accepted the text before. Some servers match names more loosely than they are
 * written: Go's encoding/json ignores case, and takes U+017F for s and U+212A for k; Java's
 * equalsIgnoreCase takes U+0130 and U+0131 for i; pydantic and Protobuf JSON take task_id for taskId;
 * a library in C ends a name at U+0000. So an object is refused if it has another spelling of a
 * name that is looked for. */
#ifndef CREWGATE_JSON_MEMBERS_H
#define CREWGATE_JSON_MEMBERS_H

#include "json_text.h"

enum { JSON_FOLDED_BYTES_MAX = 64 }; /* the longest name of MCP that is looked for has 42 */

/* A name that is looked for: ASCII without quote and backslash. */
typedef struct {
    json_text name;
    size_t folded_size;
    unsigned char folded[JSON_FOLDED_BYTES_MAX];
} json_wanted;

/* Writes what all spellings of a name have in common; its size, or SIZE_MAX if it is too long. */
static size_t json_fold(json_text name, unsigned char out[JSON_FOLDED_BYTES_MAX]) {
    unsigned char *end = out;
    while (name.at < name.end) {
        uint32_t point = json_character(&name);
        if (point == 0 || point == JSON_NO_CHARACTER) break;
        if (point == '_' || point == '-') continue;
        if (point >= 'A' && point <= 'Z') point += 'a' - 'A';
        if (point == 0x17f) point = 's';
        if (point == 0x212a) point = 'k';
        if (point == 0x130 || point == 0x131) point = 'i';
        if (out + JSON_FOLDED_BYTES_MAX - end < 4) return SIZE_MAX;
        end = json_encode(point, end);
    }
    return (size_t)(end - out);
}

/* Prepares a name to be looked for; 0 if it is too long. */
static int json_want(json_wanted *wanted, const char *name, size_t n) {
    const unsigned char *at = (const unsigned char *)name;
    wanted->name = (json_text){at, at + n};
    wanted->folded_size = json_fold(wanted->name, wanted->folded);
    return wanted->folded_size != SIZE_MAX;
}

/* Skips a string from behind its opening quote, eight bytes at a time: a byte that is a quote or a
 * backslash becomes zero, which only zeros and what is above them turn into a set top bit. So the
 * lowest set bit is that of the first one. */
static void json_skip_string(json_text *t) {
    const uint64_t each = 0x0101010101010101ull;
    uint64_t word;
    while (t->at < t->end) {
        if (t->end - t->at >= 8) {
            memcpy(&word, t->at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            word = __builtin_bswap64(word);
#endif
            uint64_t quote = word ^ each * '"', escape = word ^ each * '\\';
            uint64_t zero = ((quote - each) & ~quote) | ((escape - each) & ~escape);
            zero &= each * 0x80;
            t->at += zero ? (unsigned)__builtin_ctzll(zero) / 8 : 8;
            if (!zero) continue;
        }
        unsigned char c = *t->at++;
        if (c == '"') return;
        if (c == '\\' && t->at < t->end) t->at++;
    }
}

static void json_skip_value(json_text *t) {
    size_t depth = 0;
    while (t->at < t->end) {
        unsigned char c = *t->at;
        if (depth == 0 && (c == ',' || c == '}' || c == ']' || json_blank(c))) return;
        t->at++;
        if (c == '"') json_skip_string(t);
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && depth) depth--;
        if (depth == 0 && (c == '"' || c == '}' || c == ']')) return;
    }
}

/* Goes on to the next member of an object; 0 if there is none. */
static int json_next_member(json_text *t, json_text *name, json_text *value) {
    json_take(t, ',');
    if (!json_take(t, '"')) return 0;
    name->at = t->at;
    json_skip_string(t);
    name->end = t->at - 1;
    if (!json_take(t, ':')) return 0;
    json_skip_blank(t);
    value->at = t->at;
    json_skip_value(t);
    value->end = t->at;
    return 1;
}

/* Whether a name is written as it is looked for, without an escape. */
static inline int json_is_plainly(json_text name, const json_wanted *wanted) {
    size_t n = (size_t)(wanted->name.end - wanted->name.at);
    return (size_t)(name.end - name.at) == n && memcmp(name.at, wanted->name.at, n) == 0;
}

/* Finds the values of the `count` names in an object; `at` is NULL for a name that is not there, and
 * for every name if the value is no object. No two of the names are spellings of one. Returns 1; 0
 * if a member has another spelling of a name, which `misspelt` is then. */
static int json_find(json_text object, const json_wanted *wanted, size_t count, json_text *found,
                     json_text *misspelt) {
    json_text name, value;
    unsigned char folded[JSON_FOLDED_BYTES_MAX];
    for (size_t i = 0; i < count; i++) found[i] = (json_text){NULL, NULL};
    if (!json_take(&object, '{')) return 1;
    while (json_next_member(&object, &name, &value)) {
        size_t at = 0;
        while (at < count && !json_is_plainly(name, &wanted[at])) at++;
        if (at < count) {
            found[at] = value;
            continue;
        }
        size_t size = json_fold(name, folded);
        for (size_t i = 0; i < count; i++) {
            if (wanted[i].folded_size != size || memcmp(wanted[i].folded, folded, size) != 0)
                continue;
            if (!json_same_string(name, wanted[i].name)) {
                *misspelt = name;
                return 0;
            }
            found[i] = value;
        }
    }
    return 1;
}

#endif
