/* Checks the bytes of a method, a target, an authority and a Content-Length.
 *
 * The input is any bytes of an unknown client. No function reads beyond its length. */
#ifndef CREWGATE_REQUEST_LINE_H
#define CREWGATE_REQUEST_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { IN_METHOD = 1, IN_TARGET = 2, IN_NAME = 4, IN_ADDRESS = 8, IN_NUMBER = 16 };

static uint8_t line_classes[256];

static void line_class(const char *characters, uint8_t class) {
    for (; *characters; characters++) line_classes[(unsigned char)*characters] |= class;
}

/* Called once, when the module is imported. */
static void line_prepare(void) {
    line_class("0123456789", IN_METHOD | IN_NAME | IN_ADDRESS | IN_NUMBER);
    line_class("abcdefABCDEF", IN_METHOD | IN_NAME | IN_ADDRESS);
    line_class("ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ", IN_METHOD | IN_NAME);
    line_class("!#$%&'*+-.^_`|~", IN_METHOD);  /* RFC 9110, section 5.6.2 */
    line_class("._~-", IN_NAME);
    line_class(":.", IN_ADDRESS);
    /* Visible ASCII without "#", which begins a fragment. */
    for (int c = '!'; c <= '~'; c++) {
        if (c != '#') line_classes[c] |= IN_TARGET;
    }
}

/* Returns how many bytes at the beginning are all of a class. */
static inline size_t line_span(const unsigned char *text, size_t n, uint8_t class) {
    size_t at = 0;
    while (at < n && line_classes[text[at]] & class) at++;
    return at;
}

/* 1 if there is a text and all of it is of a class. */
static inline int line_is(const unsigned char *text, size_t n, uint8_t class) {
    return n != 0 && line_span(text, n, class) == n;
}

/* Host and port of RFC 3986, section 3.2, without user and without encoding: a name, or an address
 * in brackets, then perhaps a port of at most 5 digits. */
static int line_is_authority(const unsigned char *text, size_t n) {
    size_t host;
    if (n && text[0] == '[') {
        size_t address = line_span(text + 1, n - 1, IN_ADDRESS);
        if (address == 0 || address + 1 == n || text[address + 1] != ']') return 0;
        host = address + 2;
    } else {
        host = line_span(text, n, IN_NAME);
        if (host == 0) return 0;
    }
    if (host == n) return 1;
    size_t digits = n - host - 1;
    return text[host] == ':' && digits <= 5 && line_is(text + host + 1, digits, IN_NUMBER);
}

static inline unsigned char line_lower(unsigned char c) {
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

/* Whether two texts are equal but for the case of ASCII letters. */
static int line_same(const unsigned char *a, size_t n, const unsigned char *b, size_t m) {
    if (n != m) return 0;
    for (size_t at = 0; at < n; at++) {
        if (line_lower(a[at]) != line_lower(b[at])) return 0;
    }
    return 1;
}

/* A Content-Length of 1 to 18 digits, which fit 63 bits; -1 for anything else. */
static int64_t line_length(const unsigned char *text, size_t n) {
    int64_t length = 0;
    if (n > 18 || !line_is(text, n, IN_NUMBER)) return -1;
    for (size_t at = 0; at < n; at++) length = length * 10 + (text[at] - '0');
    return length;
}

#endif
