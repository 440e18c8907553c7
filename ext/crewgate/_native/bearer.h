/* Where a token may hide in a query, and what follows the Bearer scheme (core/bearer.py).
 *
 * All is any bytes of a stranger; nothing is read beyond its length, nothing is decoded but in
 * passing. */
#ifndef CREWGATE_BEARER_H
#define CREWGATE_BEARER_H

#include <stddef.h>
#include <string.h>

static inline unsigned char bearer_lower(unsigned char c) {
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

static inline int bearer_hex(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = bearer_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether a text is a word (lower case) once its percent-encoding is undone and its case is gone;
 * what is no encoding stands for itself. */
static int bearer_spells(const unsigned char *text, size_t n, const char *word) {
    size_t at = 0;
    for (; *word; word++) {
        if (at == n) return 0;
        unsigned char c = text[at++];
        if (c == '%' && n - at >= 2 && bearer_hex(text[at]) >= 0 && bearer_hex(text[at + 1]) >= 0) {
            c = (unsigned char)(bearer_hex(text[at]) << 4 | bearer_hex(text[at + 1]));
            at += 2;
        }
        if (bearer_lower(c) != (unsigned char)*word) return 0;
    }
    return at == n;
}

/* Whether a parameter of a query is named `access_token`, however it is spelled. */
static int bearer_in_query(const unsigned char *query, size_t n) {
    const unsigned char *end = query + n;
    for (;;) {
        const unsigned char *next = memchr(query, '&', (size_t)(end - query));
        size_t size = (size_t)((next ? next : end) - query);
        const unsigned char *equals = memchr(query, '=', size);
        if (bearer_spells(query, equals ? (size_t)(equals - query) : size, "access_token"))
            return 1;
        if (next == NULL) return 0;
        query = next + 1;
    }
}

/* Where the token begins and how long it is, without the blanks around it; 0 if the scheme is
 * another one, which ends at the first blank or with the value. */
static int bearer_token(const unsigned char *value, size_t n, size_t *begin, size_t *size) {
    static const char scheme[] = "bearer";
    size_t end = n;
    for (size_t at = 0; at < 6; at++) {
        if (at >= n || bearer_lower(value[at]) != (unsigned char)scheme[at]) return 0;
    }
    if (n > 6 && value[6] != ' ') return 0;
    size_t at = n > 6 ? 7 : n;
    while (at < end && value[at] == ' ') at++;
    while (end > at && value[end - 1] == ' ') end--;
    *begin = at;
    *size = end - at;
    return 1;
}

/* Whether a token is there, and is one: blanks and commas divide credentials. */
static int bearer_is_one(const unsigned char *token, size_t n) {
    return n != 0 && !memchr(token, ' ', n) && !memchr(token, ',', n) && !memchr(token, '\t', n);
}

#endif
