/* Writes the parts of an audit line that differ from call to call: a time, an id, numbers.
 *
 * Each function appends at `to` and returns the new end; its comment has the largest size. The
 * tests compare the results with msgspec (RFC 3339) and core/audit/records.py. */
#ifndef CREWGATE_LINE_TEXT_H
#define CREWGATE_LINE_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TIME_CHARS_MAX = 27, UUID_CHARS = 36, NUMBER_CHARS_MAX = 20 };

static inline char *text_put(char *to, const char *text, size_t n) {
    memcpy(to, text, n);
    return to + n;
}

/* Writes `width` digits with leading zeros. */
static inline char *text_digits(char *to, uint64_t number, int width) {
    for (int at = width - 1; at >= 0; at--, number /= 10) to[at] = (char)('0' + number % 10);
    return to + width;
}

/* At most NUMBER_CHARS_MAX. */
static char *text_number(char *to, int64_t number) {
    uint64_t rest = number < 0 ? UINT64_C(0) - (uint64_t)number : (uint64_t)number;
    int width = 1;
    for (uint64_t more = rest / 10; more; more /= 10) width++;
    if (number < 0) *to++ = '-';
    return text_digits(to, rest, width);
}

static inline int64_t text_floor(int64_t number, int64_t by) {
    return number / by - (number % by < 0);
}

/* UTC with microseconds, without a fraction that is zero; at most TIME_CHARS_MAX, since 64 bits of
 * nanoseconds reach from 1677 to 2262. The calendar is Hinnant's `civil_from_days`: years begin in
 * March, 400 of them are 146,097 days. */
static char *text_time(char *to, int64_t time_ns) {
    int64_t micro = text_floor(time_ns, 1000), seconds = text_floor(micro, 1000000);
    int64_t fraction = micro - seconds * 1000000;
    int64_t days = text_floor(seconds, 86400), second = seconds - days * 86400;
    days += 719468;  /* since 1 March of year 0 */
    int64_t era = text_floor(days, 146097), day = days - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    int64_t month = (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;
    month += month < 10 ? 3 : -9;
    year += era * 400 + (month <= 2);
    to = text_digits(to, (uint64_t)year, 4);
    *to++ = '-';
    to = text_digits(to, (uint64_t)month, 2);
    *to++ = '-';
    to = text_digits(to, (uint64_t)day + 1, 2);
    *to++ = 'T';
    to = text_digits(to, (uint64_t)(second / 3600), 2);
    *to++ = ':';
    to = text_digits(to, (uint64_t)(second / 60 % 60), 2);
    *to++ = ':';
    to = text_digits(to, (uint64_t)(second % 60), 2);
    if (fraction) {
        *to++ = '.';
        to = text_digits(to, (uint64_t)fraction, 6);
    }
    *to++ = 'Z';
    return to;
}

static const char text_hex_digits[] = "0123456789abcdef";

/* 16 digits. */
static inline char *text_hex(char *to, uint64_t number) {
    for (int shift = 60; shift >= 0; shift -= 4) *to++ = text_hex_digits[number >> shift & 15];
    return to;
}

/* UUID_CHARS of 16 bytes; nothing for the nil UUID. */
static char *text_uuid(char *to, const unsigned char *id) {
    const char *digits = text_hex_digits;
    unsigned char any = 0;
    for (int at = 0; at < 16; at++) any |= id[at];
    if (!any) return to;
    for (int at = 0; at < 16; at++) {
        if (at == 4 || at == 6 || at == 8 || at == 10) *to++ = '-';
        *to++ = digits[id[at] >> 4];
        *to++ = digits[id[at] & 15];
    }
    return to;
}

#endif
