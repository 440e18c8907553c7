/* Looks for a name in a set without hashing it: for most names, the first byte and the length show
 * that they are not in the set.
 *
 * Names are any bytes. No function reads beyond their lengths. */
#ifndef CREWGATE_FIELD_NAME_H
#define CREWGATE_FIELD_NAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Lengths of the names that begin with a byte; the last bit is for all from 63 on. */
typedef struct {
    uint64_t lengths[256];
} name_glance;

static inline uint64_t name_length_bit(size_t n) {
    return UINT64_C(1) << (n < 63 ? n : 63);
}

static inline void name_glance_add(name_glance *glance, const unsigned char *name, size_t n) {
    glance->lengths[n ? name[0] : 0] |= name_length_bit(n);
}

/* 0: the name was not added. 1: it has to be looked up. */
static inline int name_may_be_among(const name_glance *glance, const unsigned char *name, size_t n) {
    return (glance->lengths[n ? name[0] : 0] & name_length_bit(n)) != 0;
}

/* Whether the first m bytes of a name, each mapped, are those of a word that is mapped already. */
static inline int name_begins(
    const unsigned char *name, size_t n, const unsigned char *map, const unsigned char *word,
    size_t m) {
    if (n < m) return 0;
    for (size_t at = 0; at < m; at++) {
        if (map[name[at]] != word[at]) return 0;
    }
    return 1;
}

/* Whether the map changes nothing of a name. */
static inline int name_is_plain(const unsigned char *name, size_t n, const unsigned char *map) {
    for (size_t at = 0; at < n; at++) {
        if (map[name[at]] != name[at]) return 0;
    }
    return 1;
}

/* Whether mapping a name would change it. */
static inline int name_is_odd(const unsigned char *name, size_t n, const unsigned char *map) {
    for (size_t at = 0; at < n; at++) {
        if (map[name[at]] != name[at]) return 1;
    }
    return 0;
}

#endif
