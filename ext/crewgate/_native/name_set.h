/* A set of names that is made once and then only asked.
 *
 * For most names that are not in it, the first byte and the length already show that. Names are any
 * bytes; the set does not copy them. No function reads beyond their lengths. */
#ifndef CREWGATE_NAME_SET_H
#define CREWGATE_NAME_SET_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "field_name.h"

typedef struct {
    const unsigned char *text;
    size_t size;
} name_entry;

typedef struct {
    name_glance glance;
    name_entry *entries;  /* in the order of `name_compare` */
    size_t count;
} name_set;

static int name_compare(const void *one, const void *other) {
    const name_entry *a = one, *b = other;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return a->size ? memcmp(a->text, b->text, a->size) : 0;
}

/* Makes an empty set with room for a number of names; 0 without memory. */
static int name_set_open(name_set *set, size_t room) {
    memset(&set->glance, 0, sizeof(set->glance));
    set->count = 0;
    set->entries = calloc(room ? room : 1, sizeof(name_entry));
    return set->entries != NULL;
}

static void name_set_close(name_set *set) {
    free(set->entries);
    set->entries = NULL;
    set->count = 0;
}

/* Adds a name, which must live as long as the set. Sort the set after the last one. */
static void name_set_add(name_set *set, const unsigned char *name, size_t n) {
    set->entries[set->count].text = name;
    set->entries[set->count++].size = n;
    name_glance_add(&set->glance, name, n);
}

static void name_set_sort(name_set *set) {
    qsort(set->entries, set->count, sizeof(name_entry), name_compare);
}

static int name_set_has(const name_set *set, const unsigned char *name, size_t n) {
    if (!name_may_be_among(&set->glance, name, n)) return 0;
    const name_entry wanted = {name, n};
    return bsearch(&wanted, set->entries, set->count, sizeof(name_entry), name_compare) != NULL;
}

#endif
