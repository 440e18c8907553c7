/* Base64url without padding (RFC 4648, section 5; RFC 7515, section 2), the canonical form only.
 *
 * Each byte string has one encoding: no padding, no white space, no other alphabet, and the unused
 * bits of the last character are zero. Otherwise one signature would have many tokens, each with an
 * entry of its own in every cache of tokens. */
#ifndef CREWGATE_BASE64URL_H
#define CREWGATE_BASE64URL_H

#include <stddef.h>
#include <stdint.h>

/* Value of each character, 0xff for those outside the alphabet. */
static inline uint8_t base64url_value(unsigned char c) {
    if (c >= 'A' && c <= 'Z') return (uint8_t)(c - 'A');
    if (c >= 'a' && c <= 'z') return (uint8_t)(c - 'a' + 26);
    if (c >= '0' && c <= '9') return (uint8_t)(c - '0' + 52);
    if (c == '-') return 62;
    if (c == '_') return 63;
    return 0xff;
}

/* The bits of a character at each of the four places of a group, shifted to their place in the 24
 * bits of the group; BASE64URL_OUTSIDE for a character outside the alphabet. */
#define BASE64URL_OUTSIDE 0x01000000u
static uint32_t base64url_bits[4][256];

/* Called once, when the module is imported. */
static void base64url_prepare(void) {
    for (int place = 0; place < 4; place++)
        for (int c = 0; c < 256; c++) {
            uint32_t value = base64url_value((unsigned char)c);
            base64url_bits[place][c] =
                value == 0xff ? BASE64URL_OUTSIDE : value << (18 - 6 * place);
        }
}

/* Bytes that `n` characters stand for. */
static inline size_t base64url_size(size_t n) { return n / 4 * 3 + (n % 4 ? n % 4 - 1 : 0); }

/* Decodes `n` characters into base64url_size(n) bytes of `out`; 0, or -1 if the form is not
 * canonical. */
static int base64url_decode(const unsigned char *text, size_t n, unsigned char *out) {
    const uint32_t (*bits)[256] = base64url_bits;
    const unsigned char *whole = text + n / 4 * 4;
    uint32_t all = 0; /* collects BASE64URL_OUTSIDE */
    for (; text < whole; text += 4, out += 3) {
        uint32_t group =
            bits[0][text[0]] | bits[1][text[1]] | bits[2][text[2]] | bits[3][text[3]];
        all |= group;
        out[0] = (unsigned char)(group >> 16);
        out[1] = (unsigned char)(group >> 8);
        out[2] = (unsigned char)group;
    }
    size_t rest = n % 4;
    if (rest == 1) return -1;
    if (rest) {
        uint32_t group = bits[0][text[0]] | bits[1][text[1]] | (rest == 3 ? bits[2][text[2]] : 0);
        all |= group;
        out[0] = (unsigned char)(group >> 16);
        if (rest == 3) out[1] = (unsigned char)(group >> 8);
        if (group & (rest == 3 ? 0xffu : 0xffffu)) return -1; /* bits left over */
    }
    return all & BASE64URL_OUTSIDE ? -1 : 0;
}

#endif
