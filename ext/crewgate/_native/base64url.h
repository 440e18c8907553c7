/* Base64url without padding (RFC 4648, section 5; RFC 7515, section 2), the canonical form only.
 *
 * One encoding per byte string: no padding, no white space, no other alphabet, and the bits that
 * a last character leaves over are zero. Otherwise one signature would have many tokens, each a
 * new key for whatever remembers tokens. */
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

static uint8_t base64url_values[256];

/* Called once, when the module is imported. */
static void base64url_prepare(void) {
    for (int c = 0; c < 256; c++) base64url_values[c] = base64url_value((unsigned char)c);
}

/* Bytes that `n` characters stand for. */
static inline size_t base64url_size(size_t n) { return n / 4 * 3 + (n % 4 ? n % 4 - 1 : 0); }

/* Decodes `n` characters into base64url_size(n) bytes of `out`; 0, or -1 if the form is not
 * canonical. */
static int base64url_decode(const unsigned char *text, size_t n, unsigned char *out) {
    const uint8_t *value = base64url_values;
    const unsigned char *whole = text + n / 4 * 4;
    uint8_t outside = 0; /* the high bits of 0xff; no value has them */
    for (; text < whole; text += 4, out += 3) {
        uint8_t a = value[text[0]], b = value[text[1]], c = value[text[2]], d = value[text[3]];
        outside |= a | b | c | d;
        out[0] = (unsigned char)(a << 2 | b >> 4);
        out[1] = (unsigned char)(b << 4 | c >> 2);
        out[2] = (unsigned char)(c << 6 | d);
    }
    size_t rest = n % 4;
    if (rest == 1) return -1;
    if (rest) {
        uint8_t a = value[text[0]], b = value[text[1]], c = rest == 3 ? value[text[2]] : 0;
        outside |= a | b | c;
        out[0] = (unsigned char)(a << 2 | b >> 4);
        if (rest == 3) out[1] = (unsigned char)(b << 4 | c >> 2);
        if (rest == 3 ? c & 0x03 : b & 0x0f) return -1;
    }
    return outside & 0xc0 ? -1 : 0;
}

#endif
