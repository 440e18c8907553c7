/* Writes micro-credits as text, as core/credits.format_credits does: 2500000 is "2.50". */
#ifndef CREWGATE_CREDIT_TEXT_H
#define CREWGATE_CREDIT_TEXT_H

#include <stdint.h>

enum { CREDIT_CHARS_MAX = 28 };  /* the digits of 2^64 - 1, and a point */

static inline char *credits_put(char *to, uint64_t micro) {
    uint64_t whole = micro / 1000000, rest = micro % 1000000;
    char digits[20];
    int count = 0;
    do digits[count++] = (char)('0' + whole % 10); while (whole /= 10);
    while (count) *to++ = digits[--count];
    *to++ = '.';
    uint64_t unit = 100000;
    for (int at = 0; at < 2 || rest; at++, unit /= 10) {
        *to++ = (char)('0' + rest / unit);
        rest %= unit;
    }
    return to;
}

#endif
