/* Compares the URL in a DPoP proof with the one that its request was sent to (RFC 9449, section 4.3,
 * check 9): without query and fragment, and after the normalizations of RFC 3986, sections 6.2.2 and
 * 6.2.3. The path of the request has no dot segments: the gateway refuses these before. */
#ifndef CREWGATE_PROOF_TARGET_H
#define CREWGATE_PROOF_TARGET_H

#include <stddef.h>
#include <string.h>

#include "ascii.h"

static inline int target_unreserved(unsigned c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

/* Returns the octet at a place of a path, and moves behind it. An octet that is encoded and must be
 * has 0x100 added, because "/" and "%2F" differ. */
static unsigned target_octet(const unsigned char *text, size_t n, size_t *at) {
    unsigned char c = text[(*at)++];
    if (c != '%' || n - *at < 2) return c;
    int high = ascii_hex(text[*at]), low = ascii_hex(text[*at + 1]);
    if (high < 0 || low < 0) return c;
    *at += 2;
    unsigned octet = (unsigned)(high << 4 | low);
    return target_unreserved(octet) ? octet : octet | 0x100;
}

static int target_same_path(const unsigned char *a, size_t n, const unsigned char *b, size_t m) {
    size_t i = 0, j = 0;
    while (i < n && j < m)
        if (target_octet(a, n, &i) != target_octet(b, m, &j)) return 0;
    return i == n && j == m;
}

/* Where requests are sent to, in lower case and without a default port: "https://gateway.example".
 * If the origin has that port, a URL may state it: ":443". Otherwise `default_port` is empty. */
typedef struct {
    const unsigned char *text;
    size_t size;
    const char *default_port;
} target_origin;

/* Returns where the origin of a URL ends and its path begins; 0 if it has another origin. */
static size_t target_path_begin(const unsigned char *url, size_t n, const target_origin *origin) {
    size_t end = origin->size, port = strlen(origin->default_port);
    if (n < end) return 0;
    for (size_t at = 0; at < end; at++)
        if (ascii_lower(url[at]) != origin->text[at]) return 0;
    if (port && n - end >= port && memcmp(url + end, origin->default_port, port) == 0)
        end += port;
    else if (port && n > end && url[end] == ':')
        end++; /* an empty port is the default one (RFC 3986, section 6.2.3) */
    return end == n || url[end] == '/' || url[end] == '?' || url[end] == '#' ? end : 0;
}

/* 1 if `url` names `path` (without a query) at `origin`. */
static int target_matches(const unsigned char *url, size_t n, const target_origin *origin,
                          const unsigned char *path, size_t k) {
    size_t begin = target_path_begin(url, n, origin), end = begin;
    if (begin == 0) return 0;
    while (end < n && url[end] != '?' && url[end] != '#') end++;
    if (end == begin) return k == 1 && path[0] == '/';
    return target_same_path(url + begin, end - begin, path, k);
}

#endif
