/* Checks that a text is strict JSON, before any other code interprets it.
 *
 * RFC 8259, and beyond it: valid UTF-8 everywhere (unknown members too), no byte order mark, no
 * lone surrogate, no control character in any string (Unicode category Cc, escaped or not), no
 * duplicate key of one object after escapes are decoded, at most JSON_DEPTH_MAX deep and
 * JSON_MEMBERS_MAX members an object. Two readers of such a text cannot disagree about it
 * ("Parsing JSON is a minefield", Seriot 2016). One pass; the work is bounded by the length of
 * the text times JSON_MEMBERS_MAX. It allocates nothing. */
#ifndef CREWGATE_STRICT_JSON_H
#define CREWGATE_STRICT_JSON_H

#include "json_text.h"
#include "token_bounds.h"

typedef struct {
    json_text text;
    unsigned char *keys; /* where the next decoded string goes */
    unsigned nulls;      /* members and elements that are `null` */
} json_scan;

static inline int json_control(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

/* Copies plain characters as far as they go, or to the last seven of the text; the end in `out`. */
static inline unsigned char *json_run(json_text *t, unsigned char *out) {
    const unsigned char *start = t->at;
    json_skip_plain(t);
    memcpy(out, start, (size_t)(t->at - start));
    return out + (t->at - start);
}

/* Reads a string from behind its opening quote and decodes it into `out`, which has room for as
 * many bytes as the text has left; its end in `out`, or NULL. */
static unsigned char *json_string(json_text *t, unsigned char *out) {
    for (;;) {
        out = json_run(t, out);
        if (t->at == t->end) return NULL;
        if (*t->at == '"') {
            t->at++;
            return out;
        }
        uint32_t point = json_character(t);
        if (point == JSON_NO_CHARACTER || json_control(point)) return NULL;
        out = json_encode(point, out);
    }
}

static int json_value(json_scan *s, int depth);

/* Reads a key, compares it with the object's earlier keys, and stores it behind them, with its
 * length before it. A key takes at least three more bytes in the text (quotes, colon) than here,
 * so the stored keys never need more room than the text. */
static int json_key(json_scan *s, const unsigned char *first) {
    if (!json_take(&s->text, '"')) return 0;
    unsigned char *key = s->keys + 2;
    unsigned char *end = json_string(&s->text, key);
    if (end == NULL) return 0;
    size_t n = (size_t)(end - key);
    s->keys[0] = (unsigned char)(n & 0xff);
    s->keys[1] = (unsigned char)(n >> 8);
    for (const unsigned char *other = first; other < s->keys;) {
        size_t size = other[0] | (size_t)other[1] << 8;
        if (size == n && memcmp(other + 2, key, n) == 0) return 0;
        other += 2 + size;
    }
    s->keys = end;
    return json_take(&s->text, ':');
}

static int json_object(json_scan *s, int depth) {
    unsigned char *first = s->keys;
    if (json_take(&s->text, '}')) return 1;
    for (int members = 1; members <= JSON_MEMBERS_MAX; members++) {
        if (!json_key(s, first) || !json_value(s, depth)) return 0;
        if (json_take(&s->text, '}')) {
            s->keys = first;
            return 1;
        }
        if (!json_take(&s->text, ',')) return 0;
    }
    return 0;
}

static int json_array(json_scan *s, int depth) {
    if (json_take(&s->text, ']')) return 1;
    do {
        if (!json_value(s, depth)) return 0;
    } while (json_take(&s->text, ','));
    return json_take(&s->text, ']');
}

/* `depth` is the depth of the object or array around the value. */
static int json_value(json_scan *s, int depth) {
    json_text *t = &s->text;
    json_skip_blank(t);
    if (t->at == t->end) return 0;
    switch (*t->at) {
    case '{':
        t->at++;
        return depth < JSON_DEPTH_MAX && json_object(s, depth + 1);
    case '[':
        t->at++;
        return depth < JSON_DEPTH_MAX && json_array(s, depth + 1);
    case '"':
        t->at++;
        return json_string(t, s->keys) != NULL;
    case 't':
        return json_literal(t, "true", 4);
    case 'f':
        return json_literal(t, "false", 5);
    case 'n':
        s->nulls++;
        return json_literal(t, "null", 4);
    default:
        return json_number(t);
    }
}

/* Returns the number of `null`s in a text of at most TOKEN_BYTES_MAX bytes; -1 if the text is not
 * one strict JSON object. */
static int json_scan_object(const unsigned char *text, size_t n) {
    unsigned char keys[TOKEN_BYTES_MAX + 2];
    if (n > TOKEN_BYTES_MAX) return -1;
    json_scan s = {{text, text + n}, keys, 0};
    if (!json_take(&s.text, '{') || !json_object(&s, 1)) return -1;
    json_skip_blank(&s.text);
    return s.text.at == s.text.end ? (int)s.nulls : -1;
}

#endif
