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

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "token_bounds.h"

typedef struct {
    const unsigned char *at, *end;
    unsigned char *keys; /* where the next decoded string goes */
    unsigned nulls;      /* members and elements that are `null` */
} json_scan;

static inline int json_blank(unsigned char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void json_skip_blank(json_scan *s) {
    while (s->at < s->end && json_blank(*s->at)) s->at++;
}

/* Takes `c` if it is next, after white space. */
static inline int json_take(json_scan *s, unsigned char c) {
    json_skip_blank(s);
    if (s->at == s->end || *s->at != c) return 0;
    s->at++;
    return 1;
}

static inline int json_control(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

/* Reads one UTF-8 sequence of two bytes or more (RFC 3629: shortest form, no surrogates, at most
 * U+10FFFF) and copies it; its end in `out`, or NULL. */
static unsigned char *json_utf8(json_scan *s, unsigned char *out) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = *s->at;
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || (size_t)(s->end - s->at) < n) return NULL;
    uint32_t point = first & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s->at[i] & 0xc0) != 0x80) return NULL;
        point = point << 6 | (s->at[i] & 0x3f);
    }
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ||
        json_control(point))
        return NULL;
    memcpy(out, s->at, n);
    s->at += n;
    return out + n;
}

/* Reads the four digits of \uXXXX; the unit, or -1. */
static int32_t json_unit(json_scan *s) {
    if (s->end - s->at < 4) return -1;
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = *s->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Writes a code point as UTF-8: never more bytes than its escape took. */
static unsigned char *json_encode(uint32_t point, unsigned char *out) {
    if (point < 0x80) {
        *out++ = (unsigned char)point;
    } else if (point < 0x800) {
        *out++ = (unsigned char)(0xc0 | point >> 6);
        *out++ = (unsigned char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *out++ = (unsigned char)(0xe0 | point >> 12);
        *out++ = (unsigned char)(0x80 | (point >> 6 & 0x3f));
        *out++ = (unsigned char)(0x80 | (point & 0x3f));
    } else {
        *out++ = (unsigned char)(0xf0 | point >> 18);
        *out++ = (unsigned char)(0x80 | (point >> 12 & 0x3f));
        *out++ = (unsigned char)(0x80 | (point >> 6 & 0x3f));
        *out++ = (unsigned char)(0x80 | (point & 0x3f));
    }
    return out;
}

/* Decodes what follows a backslash; its end in `out`, or NULL. The short escapes of control
 * characters (\b \f \n \r \t) are refused like the characters. */
static unsigned char *json_escape(json_scan *s, unsigned char *out) {
    if (s->at == s->end) return NULL;
    unsigned char c = *s->at++;
    if (c == '"' || c == '\\' || c == '/') {
        *out++ = c;
        return out;
    }
    if (c != 'u') return NULL;
    int32_t unit = json_unit(s);
    if (unit < 0) return NULL;
    uint32_t point = (uint32_t)unit;
    if (unit >= 0xd800 && unit < 0xe000) {
        if (unit >= 0xdc00 || s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
            return NULL;
        s->at += 2;
        int32_t low = json_unit(s);
        if (low < 0xdc00 || low >= 0xe000) return NULL;
        point = 0x10000 + ((point - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    }
    return json_control(point) ? NULL : json_encode(point, out);
}

/* Counts the plain characters at the beginning of eight. A plain character is ASCII, but no quote,
 * no backslash and no control character. It works on all bytes of the word at once (Warren,
 * "Hacker's Delight", 6-1): a byte below 0x20, or equal to quote or backslash, borrows into its
 * top bit; 0x7f carries into it; bytes from 0x80 have it. A borrow or carry can only affect later
 * bytes. */
static inline unsigned json_plain(uint64_t word) {
    const uint64_t each = 0x0101010101010101ull;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    uint64_t quote = (word ^ each * '"') - each, escape = (word ^ each * '\\') - each;
    uint64_t other = (word | quote | escape | (word - each * 0x20) | (word + each)) & each * 0x80;
    return other ? (unsigned)__builtin_ctzll(other) / 8 : 8;
}

/* Copies plain characters as far as they go, or to the last seven of the text; the end in `out`. */
static inline unsigned char *json_run(json_scan *s, unsigned char *out) {
    uint64_t word;
    unsigned n = 8;
    while (n == 8 && s->end - s->at >= 8) {
        memcpy(&word, s->at, 8);
        memcpy(out, &word, 8);
        n = json_plain(word);
        s->at += n;
        out += n;
    }
    return out;
}

/* Reads a string from behind its opening quote and decodes it into `out`, which has room for as
 * many bytes as the text has left; its end in `out`, or NULL. */
static unsigned char *json_string(json_scan *s, unsigned char *out) {
    while (out != NULL) {
        out = json_run(s, out);
        if (s->at == s->end) return NULL;
        unsigned char c = *s->at;
        if (c == '"') {
            s->at++;
            return out;
        }
        if (c == '\\') {
            s->at++;
            out = json_escape(s, out);
        } else if (c >= 0x80) {
            out = json_utf8(s, out);
        } else if (json_control(c)) {
            return NULL;
        } else {
            *out++ = c;
            s->at++;
        }
    }
    return NULL;
}

static inline int json_digits(json_scan *s) {
    const unsigned char *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') s->at++;
    return s->at > start;
}

static int json_number(json_scan *s) {
    if (*s->at == '-') s->at++;
    if (s->at < s->end && *s->at == '0')
        s->at++;
    else if (!json_digits(s))
        return 0;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!json_digits(s)) return 0;
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-')) s->at++;
        if (!json_digits(s)) return 0;
    }
    return 1;
}

static int json_literal(json_scan *s, const char *word, size_t n) {
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0) return 0;
    s->at += n;
    return 1;
}

static int json_value(json_scan *s, int depth);

/* Reads a key, compares it with the object's earlier keys, and stores it behind them, with its
 * length before it. A key takes at least three more bytes in the text (quotes, colon) than here,
 * so the stored keys never need more room than the text. */
static int json_key(json_scan *s, const unsigned char *first) {
    if (!json_take(s, '"')) return 0;
    unsigned char *key = s->keys + 2;
    unsigned char *end = json_string(s, key);
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
    return json_take(s, ':');
}

static int json_object(json_scan *s, int depth) {
    unsigned char *first = s->keys;
    if (json_take(s, '}')) return 1;
    for (int members = 1; members <= JSON_MEMBERS_MAX; members++) {
        if (!json_key(s, first) || !json_value(s, depth)) return 0;
        if (json_take(s, '}')) {
            s->keys = first;
            return 1;
        }
        if (!json_take(s, ',')) return 0;
    }
    return 0;
}

static int json_array(json_scan *s, int depth) {
    if (json_take(s, ']')) return 1;
    do {
        if (!json_value(s, depth)) return 0;
    } while (json_take(s, ','));
    return json_take(s, ']');
}

/* `depth` is the depth of the object or array around the value. */
static int json_value(json_scan *s, int depth) {
    json_skip_blank(s);
    if (s->at == s->end) return 0;
    switch (*s->at) {
    case '{':
        s->at++;
        return depth < JSON_DEPTH_MAX && json_object(s, depth + 1);
    case '[':
        s->at++;
        return depth < JSON_DEPTH_MAX && json_array(s, depth + 1);
    case '"':
        s->at++;
        return json_string(s, s->keys) != NULL;
    case 't':
        return json_literal(s, "true", 4);
    case 'f':
        return json_literal(s, "false", 5);
    case 'n':
        s->nulls++;
        return json_literal(s, "null", 4);
    default:
        return json_number(s);
    }
}

/* Returns the number of `null`s in a text of at most TOKEN_BYTES_MAX bytes; -1 if the text is not
 * one strict JSON object. */
static int json_scan_object(const unsigned char *text, size_t n) {
    unsigned char keys[TOKEN_BYTES_MAX + 2];
    if (n > TOKEN_BYTES_MAX) return -1;
    json_scan s = {text, text + n, keys, 0};
    if (!json_take(&s, '{') || !json_object(&s, 1)) return -1;
    json_skip_blank(&s);
    return s.at == s.end ? (int)s.nulls : -1;
}

#endif
