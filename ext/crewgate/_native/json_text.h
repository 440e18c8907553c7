/* Reads the parts of a JSON text (RFC 8259): white space, characters of strings, numbers, literals.
 *
 * A character is refused if it is not UTF-8 (RFC 3629), or if a surrogate is alone, escaped or not:
 * two readers replace such a character by different ones. */
#ifndef CREWGATE_JSON_TEXT_H
#define CREWGATE_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <string.h>

#define JSON_NO_CHARACTER 0xffffffffu

typedef struct {
    const unsigned char *at, *end;
} json_text;

static inline int json_blank(unsigned char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void json_skip_blank(json_text *t) {
    while (t->at < t->end && json_blank(*t->at)) t->at++;
}

/* Takes `c` if it is next, after white space. */
static inline int json_take(json_text *t, unsigned char c) {
    json_skip_blank(t);
    if (t->at == t->end || *t->at != c) return 0;
    t->at++;
    return 1;
}

/* Reads one UTF-8 sequence of two bytes or more (RFC 3629: shortest form, no surrogates, at most
 * U+10FFFF); its code point, or JSON_NO_CHARACTER. */
static uint32_t json_utf8(json_text *t) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = *t->at;
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || (size_t)(t->end - t->at) < n) return JSON_NO_CHARACTER;
    uint32_t point = first & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((t->at[i] & 0xc0) != 0x80) return JSON_NO_CHARACTER;
        point = point << 6 | (t->at[i] & 0x3f);
    }
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return JSON_NO_CHARACTER;
    t->at += n;
    return point;
}

/* Reads the four digits of \uXXXX; the unit, or -1. */
static int32_t json_unit(json_text *t) {
    if (t->end - t->at < 4) return -1;
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = *t->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Reads what follows a backslash; its code point, or JSON_NO_CHARACTER. */
static uint32_t json_escape(json_text *t) {
    if (t->at == t->end) return JSON_NO_CHARACTER;
    unsigned char c = *t->at++;
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return c;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        break;
    default:
        return JSON_NO_CHARACTER;
    }
    int32_t unit = json_unit(t);
    if (unit < 0xd800 || unit >= 0xe000) return (uint32_t)unit; /* -1 is JSON_NO_CHARACTER */
    if (unit >= 0xdc00 || t->end - t->at < 2 || t->at[0] != '\\' || t->at[1] != 'u')
        return JSON_NO_CHARACTER;
    t->at += 2;
    int32_t low = json_unit(t);
    if (low < 0xdc00 || low >= 0xe000) return JSON_NO_CHARACTER;
    return 0x10000 + (((uint32_t)unit - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
}

/* Reads the next character of a string, of which there is at least a byte; its code point, or
 * JSON_NO_CHARACTER. A character below 0x20 is refused unless it is escaped. */
static inline uint32_t json_character(json_text *t) {
    unsigned char c = *t->at;
    if (c >= 0x80) return json_utf8(t);
    if (c < 0x20) return JSON_NO_CHARACTER;
    t->at++;
    return c == '\\' ? json_escape(t) : c;
}

/* Whether two strings without their quotes are the same text after escapes are decoded. */
static int json_same_string(json_text a, json_text b) {
    while (a.at < a.end && b.at < b.end)
        if (json_character(&a) != json_character(&b)) return 0;
    return a.at == a.end && b.at == b.end;
}

/* Writes a code point as UTF-8: never more bytes than it took in the text. */
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

/* Decodes a string without its quotes; its end in `out`, which has room for as many bytes. */
static unsigned char *json_decode(json_text string, unsigned char *out) {
    while (string.at < string.end) out = json_encode(json_character(&string), out);
    return out;
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

/* Skips plain characters as far as they go, or to the last seven of the text. */
static inline void json_skip_plain(json_text *t) {
    uint64_t word;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), escape = _mm_set1_epi8('\\');
    const __m128i blank = _mm_set1_epi8(' '), del = _mm_set1_epi8(0x7f);
    while (t->end - t->at >= 16) {
        __m128i each = _mm_loadu_si128((const __m128i *)t->at);
        __m128i other = _mm_or_si128(_mm_cmpeq_epi8(each, quote), _mm_cmpeq_epi8(each, escape));
        /* Compared with signs, a byte from 0x80 is below the blank too. */
        other = _mm_or_si128(other, _mm_cmplt_epi8(each, blank));
        unsigned found = (unsigned)_mm_movemask_epi8(_mm_or_si128(other, _mm_cmpeq_epi8(each, del)));
        t->at += found ? (unsigned)__builtin_ctz(found) : 16;
        if (found) return;
    }
#endif
    unsigned n = 8;
    while (n == 8 && t->end - t->at >= 8) {
        memcpy(&word, t->at, 8);
        n = json_plain(word);
        t->at += n;
    }
}

static inline int json_digits(json_text *t) {
    const unsigned char *start = t->at;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9') t->at++;
    return t->at > start;
}

static int json_number(json_text *t) {
    if (*t->at == '-') t->at++;
    if (t->at < t->end && *t->at == '0')
        t->at++;
    else if (!json_digits(t))
        return 0;
    if (t->at < t->end && *t->at == '.') {
        t->at++;
        if (!json_digits(t)) return 0;
    }
    if (t->at < t->end && (*t->at == 'e' || *t->at == 'E')) {
        t->at++;
        if (t->at < t->end && (*t->at == '+' || *t->at == '-')) t->at++;
        if (!json_digits(t)) return 0;
    }
    return 1;
}

static int json_literal(json_text *t, const char *word, size_t n) {
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0) return 0;
    t->at += n;
    return 1;
}

#endif
