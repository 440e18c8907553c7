/* A cache of the keys of frequent names: a crew's orchestrators, processes and branches.
 *
 * One BLAKE2b costs 0.13 µs, and a token needs seven. The cache has some results by the hashed
 * text, which is compared in full. A name replaces another at the same place, so the cache is
 * bounded. An attacker who makes names collide only makes Crewgate hash some of them again. The
 * interpreter's lock guards it. */
#ifndef CREWGATE_KEY_MEMORY_H
#define CREWGATE_KEY_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { KEY_CACHE_SLOTS = 512, KEY_CACHE_TEXT = 108 };

/* 128 bytes: the usual text (crew, UUID) stands in the first cache line. */
typedef struct {
    uint64_t key[2];
    uint32_t size; /* of the text; 0: the place is empty */
    unsigned char text[KEY_CACHE_TEXT];
} key_cache;

static key_cache key_cache_places[KEY_CACHE_SLOTS];

/* Returns the place of a text; NULL if the text is too long. Multiplicative hashing of eight bytes
 * at a time (Knuth 6.4). */
static inline key_cache *key_cache_place(const unsigned char *text, size_t n) {
    uint64_t hash = n, word;
    if (n > KEY_CACHE_TEXT) return NULL;
    for (size_t at = 0; at < n; at += 8) {
        word = 0;
        memcpy(&word, text + at, n - at < 8 ? n - at : 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
    }
    return &key_cache_places[hash % KEY_CACHE_SLOTS];
}

static inline int key_cache_find(const key_cache *place, const unsigned char *text, size_t n,
                                  uint64_t *key) {
    if (place->size != n || memcmp(place->text, text, n) != 0) return 0;
    memcpy(key, place->key, 16);
    return 1;
}

static inline void key_cache_keep(key_cache *place, const unsigned char *text, size_t n,
                                   const uint64_t *key) {
    memcpy(place->key, key, 16);
    memcpy(place->text, text, n);
    place->size = (uint32_t)n;
}

#endif
