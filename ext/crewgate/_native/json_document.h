/* Checks a JSON document of any size in one pass, so that two readers cannot disagree about it.
 *
 * RFC 8259, and beyond it: valid UTF-8, no byte order mark, no lone surrogate, no two members of one
 * object with the same name after escapes are decoded, at most JSON_LEVELS_MAX objects and arrays in
 * each other, at most `values_max` values. The work is proportional to the length of the text: it
 * compares a name with the first few of its object, and looks it up in a hash table with a secret
 * key. A token has stricter rules: strict_json.h. */
#ifndef CREWGATE_JSON_DOCUMENT_H
#define CREWGATE_JSON_DOCUMENT_H

#include <stdlib.h>

#include "json_text.h"
#include "sip_hash.h"

typedef enum {
    JSON_SOUND,
    JSON_UNEXPECTED, /* a byte that the grammar does not allow there */
    JSON_TRUNCATED,
    JSON_NOT_UTF8,
    JSON_BAD_ESCAPE, /* an unknown escape, or half of a surrogate pair */
    JSON_CONTROL,    /* a control character in a string that is not escaped */
    JSON_TOO_DEEP,
    JSON_TOO_MANY,
    JSON_DUPLICATE,
    JSON_NO_MEMORY,
} json_fault;

/* A name of a member, as it is in the text. The first object is 1; 0 is a free place. */
typedef struct {
    uint32_t hash, object, start, size;
} json_name;

/* The names of all objects, but for the first JSON_FEW_MEMBERS of each. */
typedef struct {
    json_name *names; /* `first`, or allocated; NULL until the first name */
    uint32_t mask, count;
    json_name first[128]; /* a power of two; room for half as many names */
} json_name_table;

enum { JSON_FEW_MEMBERS = 8, JSON_LEVELS_MAX = 64 };

typedef struct {
    json_text text;
    const unsigned char *start;
    uint64_t key[2];
    uint32_t depth, values, values_max, objects;
    json_fault fault;
    int escapes;                                          /* a name with an escape was read */
    json_text few[JSON_LEVELS_MAX + 1][JSON_FEW_MEMBERS]; /* first names of the open objects */
    json_name_table table;
} json_document;

static int json_fail(json_document *d, json_fault fault, const unsigned char *at) {
    d->fault = fault;
    d->text.at = at;
    return 0;
}

/* Fails because the next byte is not the one that the grammar asks for. */
static int json_fail_next(json_document *d) {
    return json_fail(d, d->text.at == d->text.end ? JSON_TRUNCATED : JSON_UNEXPECTED, d->text.at);
}

/* Whether two names are the same after their escapes are decoded. */
static inline int json_same_name(const json_document *d, json_text a, json_text b) {
    size_t n = (size_t)(a.end - a.at);
    if (n == (size_t)(b.end - b.at) && memcmp(a.at, b.at, n) == 0) return 1;
    return d->escapes && json_same_string(a, b);
}

static uint32_t json_name_hash(const json_document *d, uint32_t object, json_text name) {
    sip_state s;
    sip_start(&s, d->key);
    sip_word(&s, object);
    if (!d->escapes) {
        sip_add(&s, name.at, (size_t)(name.end - name.at));
    } else {
        unsigned char utf8[4];
        while (name.at < name.end)
            sip_add(&s, utf8, (size_t)(json_encode(json_character(&name), utf8) - utf8));
    }
    return (uint32_t)sip_end(&s);
}

/* Moves the names into a table of four times as many places; 0 if there is no memory. */
static int json_table_grow(json_name_table *t) {
    uint32_t mask = t->mask * 4 + 3;
    json_name *names = calloc((size_t)mask + 1, sizeof *names);
    if (names == NULL) return 0;
    for (uint32_t i = 0; i <= t->mask; i++) {
        if (t->names[i].object == 0) continue;
        uint32_t place = t->names[i].hash & mask;
        while (names[place].object) place = (place + 1) & mask;
        names[place] = t->names[i];
    }
    if (t->names != t->first) free(t->names);
    t->names = names;
    t->mask = mask;
    return 1;
}

/* Adds a name of an object to the table, unless the object has it there. */
static int json_table_add(json_document *d, uint32_t object, json_text name) {
    json_name_table *t = &d->table;
    if (t->names == NULL) {
        memset(t->first, 0, sizeof t->first);
        t->names = t->first;
        t->mask = sizeof t->first / sizeof *t->first - 1;
        t->count = 0;
    }
    if (t->count > t->mask / 2 && !json_table_grow(t)) return json_fail(d, JSON_NO_MEMORY, name.at);
    uint32_t hash = json_name_hash(d, object, name);
    uint32_t place = hash & t->mask;
    for (; t->names[place].object; place = (place + 1) & t->mask) {
        const json_name *other = &t->names[place];
        if (other->hash != hash || other->object != object) continue;
        const unsigned char *at = d->start + other->start;
        if (json_same_name(d, name, (json_text){at, at + other->size}))
            return json_fail(d, JSON_DUPLICATE, name.at - 1);
    }
    uint32_t start = (uint32_t)(name.at - d->start), size = (uint32_t)(name.end - name.at);
    t->names[place] = (json_name){hash, object, start, size};
    t->count++;
    return 1;
}

/* Adds a name of an object that has `members` other ones, unless it is one of these. */
static int json_add_name(json_document *d, uint32_t object, uint32_t members, json_text name) {
    json_text *few = d->few[d->depth];
    for (uint32_t i = 0; i < members && i < JSON_FEW_MEMBERS; i++)
        if (json_same_name(d, name, few[i])) return json_fail(d, JSON_DUPLICATE, name.at - 1);
    if (members >= JSON_FEW_MEMBERS) return json_table_add(d, object, name);
    few[members] = name;
    return 1;
}

/* Checks a string from behind its opening quote. Returns its content; `at` is NULL if it is bad. */
static json_text json_check_string(json_document *d) {
    json_text *t = &d->text;
    const unsigned char *start = t->at;
    for (;;) {
        json_skip_plain(t);
        if (t->at == t->end) break;
        const unsigned char *at = t->at;
        if (*at == '"') {
            t->at++;
            return (json_text){start, at};
        }
        if (json_character(t) != JSON_NO_CHARACTER) continue;
        json_fail(d, *at >= 0x80 ? JSON_NOT_UTF8 : *at < 0x20 ? JSON_CONTROL : JSON_BAD_ESCAPE, at);
        return (json_text){NULL, NULL};
    }
    json_fail_next(d);
    return (json_text){NULL, NULL};
}

static int json_check_value(json_document *d);

static int json_check_member(json_document *d, uint32_t object, uint32_t members) {
    if (!json_take(&d->text, '"')) return json_fail_next(d);
    json_text name = json_check_string(d);
    if (name.at == NULL) return 0;
    d->escapes |= memchr(name.at, '\\', (size_t)(name.end - name.at)) != NULL;
    if (!json_add_name(d, object, members, name)) return 0;
    if (!json_take(&d->text, ':')) return json_fail_next(d);
    return json_check_value(d);
}

static int json_check_object(json_document *d) {
    uint32_t object = ++d->objects, members = 0;
    if (json_take(&d->text, '}')) return 1;
    do {
        if (!json_check_member(d, object, members++)) return 0;
    } while (json_take(&d->text, ','));
    return json_take(&d->text, '}') || json_fail_next(d);
}

static int json_check_array(json_document *d) {
    if (json_take(&d->text, ']')) return 1;
    do {
        if (!json_check_value(d)) return 0;
    } while (json_take(&d->text, ','));
    return json_take(&d->text, ']') || json_fail_next(d);
}

static int json_check_container(json_document *d) {
    const unsigned char *at = d->text.at++;
    if (d->depth == JSON_LEVELS_MAX) return json_fail(d, JSON_TOO_DEEP, at);
    d->depth++;
    if (!(*at == '{' ? json_check_object(d) : json_check_array(d))) return 0;
    d->depth--;
    return 1;
}

static int json_check_value(json_document *d) {
    json_text *t = &d->text;
    json_skip_blank(t);
    if (t->at == t->end) return json_fail_next(d);
    if (d->values == d->values_max) return json_fail(d, JSON_TOO_MANY, t->at);
    d->values++;
    switch (*t->at) {
    case '{':
    case '[':
        return json_check_container(d);
    case '"':
        t->at++;
        return json_check_string(d).at != NULL;
    case 't':
        return json_literal(t, "true", 4) || json_fail(d, JSON_UNEXPECTED, t->at);
    case 'f':
        return json_literal(t, "false", 5) || json_fail(d, JSON_UNEXPECTED, t->at);
    case 'n':
        return json_literal(t, "null", 4) || json_fail(d, JSON_UNEXPECTED, t->at);
    default:
        return json_number(t) || json_fail_next(d);
    }
}

/* Checks a text of less than 4 GiB. `key` and `values_max` are set. Afterwards, `fault` says whether
 * the text is sound, and `text.at` where it is not. */
static void json_check_document(json_document *d, const unsigned char *text, size_t n) {
    d->text = (json_text){text, text + n};
    d->start = text;
    d->depth = d->values = d->objects = 0;
    d->fault = JSON_SOUND;
    d->escapes = 0;
    d->table.names = NULL;
    if (json_check_value(d)) {
        json_skip_blank(&d->text);
        if (d->text.at < d->text.end) json_fail(d, JSON_UNEXPECTED, d->text.at);
    }
    if (d->table.names != d->table.first) free(d->table.names);
}

#endif
