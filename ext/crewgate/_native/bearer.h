/* Finds a token in a query and after the schemes Bearer and DPoP, and its proof (core/bearer.py).
 *
 * The input is any bytes of an unknown client. No function reads beyond its length. */
#ifndef CREWGATE_BEARER_H
#define CREWGATE_BEARER_H

#include <stddef.h>
#include <string.h>

#include "ascii.h"

/* Returns the octet at a place of a name in a query, in lower case, and moves behind it. A "+" is a
 * blank. IIS also decodes %uXXXX. Any other octet stands for itself. */
static unsigned char bearer_next(const unsigned char *text, size_t n, size_t *at) {
    unsigned char c = text[(*at)++];
    const unsigned char *rest = text + *at;
    size_t left = n - *at;
    if (c == '+') return ' ';
    if (c != '%') return ascii_lower(c);
    size_t skip = 0;
    if (left >= 5 && ascii_lower(rest[0]) == 'u' && rest[1] == '0' && rest[2] == '0' &&
        rest[3] >= '0' && rest[3] <= '7')
        skip = 3;
    if (left >= 2 && ascii_hex(rest[skip]) >= 0 && ascii_hex(rest[skip + 1]) >= 0) {
        *at += skip + 2;
        c = (unsigned char)(ascii_hex(rest[skip]) << 4 | ascii_hex(rest[skip + 1]));
    }
    return ascii_lower(c);
}

static inline int bearer_is_blank(unsigned char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether some server takes a parameter of this name for a token: core/bearer.py names them. */
static int bearer_names_token(const unsigned char *text, size_t n) {
    size_t at = 0, before = 0;
    while (at < n && bearer_is_blank(bearer_next(text, n, &at))) before = at;
    at = before;
    for (const char *word = "access_token"; *word; word++) {
        if (at == n) return 0;
        unsigned char c = bearer_next(text, n, &at);
        if (*word == '_' && (c == '.' || c == ' ' || c == '[')) continue;
        if (c != (unsigned char)*word) return 0;
    }
    if (at == n) return 1;
    unsigned char c = bearer_next(text, n, &at);
    if (c == '[' || c == 0) return 1;
    while (bearer_is_blank(c)) {
        if (at == n) return 1;
        c = bearer_next(text, n, &at);
    }
    return 0;
}

/* Whether a parameter of a query is named `access_token`, in any encoding. */
static int bearer_in_query(const unsigned char *query, size_t n) {
    size_t begin = 0;
    for (size_t at = 0;; at++) {
        if (at < n && query[at] != '&' && query[at] != ';') continue;
        const unsigned char *equals = memchr(query + begin, '=', at - begin);
        size_t end = equals ? (size_t)(equals - query) : at;
        if (bearer_names_token(query + begin, end - begin)) return 1;
        if (at == n) return 0;
        begin = at + 1;
    }
}

enum { BEARER_OTHER_SCHEME, BEARER_SCHEME, BEARER_DPOP_SCHEME };

/* The scheme of an Authorization, which ends at the first blank or with the value (RFC 6750, section
 * 2.1; RFC 9449, section 7.1). */
static int bearer_scheme(const unsigned char *value, size_t n) {
    static const char bearer[] = "bearer", dpop[] = "dpop";
    const unsigned char *blank = memchr(value, ' ', n);
    size_t size = blank ? (size_t)(blank - value) : n;
    const char *word = size == sizeof bearer - 1 ? bearer : size == sizeof dpop - 1 ? dpop : NULL;
    if (!word) return BEARER_OTHER_SCHEME;
    for (size_t at = 0; at < size; at++)
        if (ascii_lower(value[at]) != (unsigned char)word[at]) return BEARER_OTHER_SCHEME;
    return word == dpop ? BEARER_DPOP_SCHEME : BEARER_SCHEME;
}

/* Finds the token after the scheme and its length, without the blanks around it. */
static void bearer_token(const unsigned char *value, size_t n, size_t *begin, size_t *size) {
    size_t at = 0, end = n;
    while (at < end && value[at] != ' ') at++;
    while (at < end && value[at] == ' ') at++;
    while (end > at && value[end - 1] == ' ') end--;
    *begin = at;
    *size = end - at;
}

/* Whether there is exactly one token: blanks and commas separate credentials. */
static int bearer_is_one(const unsigned char *token, size_t n) {
    return n != 0 && !memchr(token, ' ', n) && !memchr(token, ',', n) && !memchr(token, '\t', n);
}

/* What a search has found so far; begin with zeros. */
typedef struct {
    int has_authorization;
    int is_dpop; /* the token came with the DPoP scheme */
    const unsigned char *token; /* NULL: none */
    size_t size;
    const unsigned char *proof; /* NULL: none */
    size_t proof_size;
} bearer_search;

/* Takes the value of a field that may carry the token; 0 if the request is invalid. */
static int bearer_take(
    bearer_search *search, int is_authorization, const unsigned char *value, size_t n) {
    size_t begin = 0, size = n;
    if (is_authorization) {
        if (search->has_authorization) return 0;
        search->has_authorization = 1;
        int scheme = bearer_scheme(value, n);
        if (scheme == BEARER_OTHER_SCHEME) return 1;
        search->is_dpop = scheme == BEARER_DPOP_SCHEME;
        bearer_token(value, n, &begin, &size);
    }
    if (search->token || !bearer_is_one(value + begin, size)) return 0;
    search->token = value + begin;
    search->size = size;
    return 1;
}

/* Takes the value of a field DPoP; 0 if there is a second one (RFC 9449, section 4.3, check 1). */
static int bearer_take_proof(bearer_search *search, const unsigned char *value, size_t n) {
    if (search->proof) return 0;
    search->proof = value;
    search->proof_size = n;
    return 1;
}

#endif
