/* Letters and hexadecimal digits of ASCII, in any locale. */
#ifndef CREWGATE_ASCII_H
#define CREWGATE_ASCII_H

static inline unsigned char ascii_lower(unsigned char c) {
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

/* The value of a digit in either case; -1 if it is none. */
static inline int ascii_hex(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
