/* Checks a JSON document of any size in one pass, so that two readers cannot disagree about it.
 *
 * RFC 8259, and beyond it: valid UTF-8, no byte order mark, no lone surrogate, no two members of one
 * object with the same name after escapes are decoded, at most `depth_max` objects and arrays in each
 * other, at most `values_max` values. The work is proportional to the length of the text: all names
 * are in one hash table with a secret key. A token has stricter rules: strict_json.h. */
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

enum { JSON_NAMES_FEW = 128 }; /* a power of two: room for 64 names without an allocation */

typedef struct {
    json_name *names; /* `few`, or allocated */
    uint32_t mask, count;
    json_name few[JSON_NAMES_FEW];
} json_names;

typedef struct {
    json_text text;
    const unsigned char *start;
    uint64_t key[2];
    uint32_t depth, depth_max, values, values_max, objects;
    json_fault fault;
    json_names names;
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

static uint32_t json_name_hash(const uint64_t key[2], uint32_t object, json_text name, int escaped) {
    sip_state s;
    sip_start(&s, key);
    sip_word(&s, object);
    if (!escaped) {
        sip_add(&s, name.at, (size_t)(name.end - name.at));
    } else {
        unsigned char utf8[4];
        while (name.at < name.end)
            sip_add(&s, utf8, (size_t)(json_encode(json_character(&name), utf8) - utf8));
    }
    return (uint32_t)sip_end(&s);
}

/* Moves the names into a table of twice as many places; 0 if there is no memory. */
static int json_names_grow(json_names *n) {
    uint32_t mask = n->mask * 2 + 1;
    json_name *names = calloc((size_t)mask + 1, sizeof *names);
    if (names == NULL) return 0;
    for (uint32_t i = 0; i <= n->mask; i++) {
        if (n->names[i].object == 0) continue;
        uint32_t place = n->names[i].hash & mask;
        while (names[place].object) place = (place + 1) & mask;
        names[place] = n->names[i];
    }
    if (n->names != n->few) free(n->names);
    n->names = names;
    n->mask = mask;
    return 1;
}

/* Adds a name of an object, unless the object has it already. */
static int json_add_name(json_document *d, uint32_t object, json_text name, int escaped) {
    json_names *n = &d->names;
    if (n->count > n->mask / 2 && !json_names_grow(n)) return json_fail(d, JSON_NO_MEMORY, name.at);
    uint32_t hash = json_name_hash(d->key, object, name, escaped);
    uint32_t place = hash & n->mask;
    for (; n->names[place].object; place = (place + 1) & n->mask) {
        const json_name *other = &n->names[place];
        if (other->hash != hash || other->object != object) continue;
        const unsigned char *at = d->start + other->start;
        if (json_same_string(name, (json_text){at, at + other->size}))
            return json_fail(d, JSON_DUPLICATE, name.at - 1);
    }
    uint32_t start = (uint32_t)(name.at - d->start), size = (uint32_t)(name.end - name.at);
    n->names[place] = (json_name){hash, object, start, size};
    n->count++;
    return 1;
}

/* Checks a string from behind its opening quote. Returns its content; `at` is NULL if it is bad. */
static json_text json_check_string(json_document *d, int *escaped) {
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
        *escaped |= *at == '\\';
        if (json_character(t) != JSON_NO_CHARACTER) continue;
        json_fail(d, *at >= 0x80 ? JSON_NOT_UTF8 : *at < 0x20 ? JSON_CONTROL : JSON_BAD_ESCAPE, at);
        return (json_text){NULL, NULL};
    }
    json_fail_next(d);
    return (json_text){NULL, NULL};
}

static int json_check_value(json_document *d);

static int json_check_member(json_document *d, uint32_t object) {
    if (!json_take(&d->text, '"')) return json_fail_next(d);
    int escaped = 0;
    json_text name = json_check_string(d, &escaped);
    if (name.at == NULL || !json_add_name(d, object, name, escaped)) return 0;
    if (!json_take(&d->text, ':')) return json_fail_next(d);
    return json_check_value(d);
}

static int json_check_object(json_document *d) {
    uint32_t object = ++d->objects;
    if (json_take(&d->text, '}')) return 1;
    do {
        if (!json_check_member(d, object)) return 0;
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
    if (d->depth == d->depth_max) return json_fail(d, JSON_TOO_DEEP, at);
    d->depth++;
    if (!(*at == '{' ? json_check_object(d) : json_check_array(d))) return 0;
    d->depth--;
    return 1;
}

static int json_check_value(json_document *d) {
    json_text *t = &d->text;
    int escaped;
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
        return json_check_string(d, &escaped).at != NULL;
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

/* Checks a text of less than 4 GiB. `depth_max`, `values_max` and `key` are set. Afterwards, `fault`
 * says whether the text is sound, and `text.at` where it is not. */
static void json_check_document(json_document *d, const unsigned char *text, size_t n) {
    d->text = (json_text){text, text + n};
    d->start = text;
    d->depth = d->values = d->objects = 0;
    d->fault = JSON_SOUND;
    d->names.names = d->names.few;
    d->names.mask = JSON_NAMES_FEW - 1;
    d->names.count = 0;
    memset(d->names.few, 0, sizeof d->names.few);
    if (json_check_value(d)) {
        json_skip_blank(&d->text);
        if (d->text.at < d->text.end) json_fail(d, JSON_UNEXPECTED, d->text.at);
    }
    if (d->names.names != d->names.few) free(d->names.names);
}

#endif
