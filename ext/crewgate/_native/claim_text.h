/* Checks the characters of a token's texts: claims, UUIDs, tool names and their patterns.
 *
 * The alphabet has no character with a meaning to a shell, a terminal, a log or a header. The tests
 * compare the rules of patterns with core/policy/scope.py. */
#ifndef CREWGATE_CLAIM_TEXT_H
#define CREWGATE_CLAIM_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "token_bounds.h"

enum { IN_TEXT = 1, IN_SEGMENT = 2 };

/* Whether a character may stand in a text ([A-Za-z0-9._:/@-]), in a tool's segment ([A-Za-z0-9_-]). */
static uint8_t claim_classes[256];

/* Called once, when the module is imported. */
static void claim_prepare(void) {
    const char *text = "._:/@";
    const char *segment = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for (; *text; text++) claim_classes[(unsigned char)*text] |= IN_TEXT;
    for (; *segment; segment++)
        claim_classes[(unsigned char)*segment] |= IN_TEXT | IN_SEGMENT;
}

/* 1 to CLAIM_CHARS_MAX characters of a text. */
static int claim_is_text(const unsigned char *text, size_t n) {
    uint8_t all = IN_TEXT;
    if (n == 0 || n > CLAIM_CHARS_MAX) return 0;
    for (size_t i = 0; i < n; i++) all &= claim_classes[text[i]];
    return all != 0;
}

static inline int claim_hex(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* The 16 bytes of a lower-case hyphenated UUID (RFC 9562) that is not nil: 1, else 0. */
static int claim_uuid(const unsigned char *text, size_t n, unsigned char *out16) {
    if (n != 36) return 0;
    unsigned char any = 0;
    for (size_t i = 0, at = 0; at < 16; at++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i++] != '-') return 0;
        }
        int high = claim_hex(text[i]), low = claim_hex(text[i + 1]);
        if (high < 0 || low < 0) return 0;
        out16[at] = (unsigned char)(high << 4 | low);
        any |= out16[at];
        i += 2;
    }
    return any != 0;
}

static inline int claim_joins(unsigned char c) { return c == '.' || c == ':'; }

/* Segments of [A-Za-z0-9_-], joined by single dots or colons. */
static int claim_is_tool_name(const unsigned char *text, size_t n) {
    if (n == 0 || n > CLAIM_CHARS_MAX || claim_joins(text[n - 1])) return 0;
    unsigned char before = '.';
    for (size_t i = 0; i < n; before = text[i++]) {
        if (claim_joins(text[i]) ? claim_joins(before) : !(claim_classes[text[i]] & IN_SEGMENT))
            return 0;
    }
    return 1;
}

/* A tool name, or one with a trailing ".*". */
static int claim_is_pattern(const unsigned char *text, size_t n) {
    if (n > CLAIM_CHARS_MAX) return 0;
    if (n > 2 && text[n - 1] == '*' && text[n - 2] == '.') n -= 2;
    return claim_is_tool_name(text, n);
}

/* Whether a valid pattern covers a valid tool name: "search.*" is "search." and at least one
 * more character. */
static inline int claim_matches(
    const unsigned char *pattern, size_t n, const unsigned char *tool, size_t m) {
    if (n && pattern[n - 1] == '*') return m > n - 1 && memcmp(pattern, tool, n - 1) == 0;
    return n == m && memcmp(pattern, tool, n) == 0;
}

/* Whether a valid pattern covers anything that an endpoint may have: its tools are `NAME.TOOL`, all
 * else `NAME:KIND.NAME`. */
static inline int claim_reaches(
    const unsigned char *pattern, size_t n, const unsigned char *endpoint, size_t m) {
    if (n > m && claim_joins(pattern[m]) && memcmp(pattern, endpoint, m) == 0) return 1;
    return claim_matches(pattern, n, endpoint, m) && pattern[n - 1] == '*';
}

#endif
