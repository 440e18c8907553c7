/* Decides which fields of a message are passed on (gateway/headers.py has the policy).
 *
 * Names and values are any bytes of a stranger. No function reads beyond their lengths. */
#ifndef CREWGATE_FIELD_RULES_H
#define CREWGATE_FIELD_RULES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE  /* for memmem */
#endif
#include <stddef.h>
#include <string.h>

#include "message_field.h"
#include "name_set.h"

enum { FIELD_DROPPED = 0, FIELD_PASSED = 1, FIELD_REFUSED = 2 };
enum { FIELDS_UNUSUAL = -1 };  /* what `fields_select` cannot decide */
enum { FIELD_OPTION_MAX = 32 };  /* the longest option of Connection that is looked up */

typedef struct {
    name_set dropped, refused, allowed;
    const unsigned char *map;   /* core/bearer.PLAIN */
    const unsigned char *ours;  /* core/bearer.OURS */
    size_t ours_size;
    int is_request;             /* refuses what is ours, and has the last two sets */
} field_rules;

/* Whether a set of mapped names has this name, mapped. */
static int field_is_refused(const field_rules *rules, const unsigned char *name, size_t n) {
    for (size_t at = 0; at < rules->refused.count; at++) {
        const name_entry *word = &rules->refused.entries[at];
        if (word->size == n && name_begins(name, n, rules->map, word->text, n)) return 1;
    }
    return 0;
}

/* What happens to a field with this name, whatever Connection and its value say. */
static int field_decide(const field_rules *rules, const unsigned char *name, size_t n) {
    if (name_set_has(&rules->dropped, name, n)) return FIELD_DROPPED;
    if (name_begins(name, n, rules->map, rules->ours, rules->ours_size))
        return rules->is_request ? FIELD_REFUSED : FIELD_DROPPED;
    if (!rules->is_request) return FIELD_PASSED;
    if (field_is_refused(rules, name, n)) return FIELD_REFUSED;
    return name_is_plain(name, n, rules->map) || name_set_has(&rules->allowed, name, n)
               ? FIELD_PASSED
               : FIELD_DROPPED;
}

static inline int field_is_connection(const unsigned char *name, size_t n) {
    return n == 10 && memcmp(name, "connection", 10) == 0;
}

static inline int field_is_blank(unsigned char c) {
    return c == ' ' || c == '\t';
}

/* Whether all options of a Connection field (RFC 9110, section 7.6.1) are fields that the rules
 * drop anyway, as `keep-alive` is. */
static int field_options_are_dropped(
    const field_rules *rules, const unsigned char *value, size_t n) {
    unsigned char option[FIELD_OPTION_MAX];
    for (size_t begin = 0, end; begin <= n; begin = end + 1) {
        const unsigned char *comma = begin < n ? memchr(value + begin, ',', n - begin) : NULL;
        end = comma ? (size_t)(comma - value) : n;
        size_t first = begin, last = end, size = 0;
        while (first < last && field_is_blank(value[first])) first++;
        while (last > first && field_is_blank(value[last - 1])) last--;
        if (last - first > FIELD_OPTION_MAX) return 0;
        for (; first < last; first++) {
            unsigned char c = value[first];
            option[size++] = c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
        }
        if (!name_set_has(&rules->dropped, option, size)) return 0;
    }
    return 1;
}

/* Whether a value has the token, which may be empty: then it has not. */
static inline int field_has(
    const unsigned char *value, size_t n, const unsigned char *token, size_t size) {
    return size && n >= size && memmem(value, n, token, size) != NULL;
}

/* Selects the fields to pass on, in order, without those whose value has the token. Returns how
 * many it has written to `kept`, which has room for all; FIELDS_UNUSUAL if one is refused, or if
 * Connection names a field that the rules do not drop. */
static ptrdiff_t fields_select(
    const field_rules *rules, const message_field *fields, size_t count,
    const unsigned char *token, size_t token_size, const message_field **kept) {
    size_t found = 0;
    for (size_t at = 0; at < count; at++) {
        const message_field *field = &fields[at];
        if (field_is_connection(field->name, field->name_size) &&
            !field_options_are_dropped(rules, field->value, field->value_size))
            return FIELDS_UNUSUAL;
        int decided = field_decide(rules, field->name, field->name_size);
        if (decided == FIELD_REFUSED) return FIELDS_UNUSUAL;
        if (decided == FIELD_PASSED &&
            !field_has(field->value, field->value_size, token, token_size))
            kept[found++] = field;
    }
    return (ptrdiff_t)found;
}

#endif
