/* One field of a message, as slices of what its parser holds, and how HTTP/1.1 writes it. */
#ifndef CREWGATE_MESSAGE_FIELD_H
#define CREWGATE_MESSAGE_FIELD_H

#include <stddef.h>
#include <string.h>

typedef struct {
    const unsigned char *name;  /* in lower case */
    const unsigned char *value;
    size_t name_size;
    size_t value_size;
    unsigned char is_never_indexed;  /* HPACK (RFC 7541, section 6.2.3) */
} message_field;

/* The bytes of some fields with ": " and CRLF (RFC 9112, section 5). */
static inline size_t field_lines_size(const message_field *const *fields, size_t count) {
    size_t size = 0;
    for (size_t at = 0; at < count; at++) size += fields[at]->name_size + fields[at]->value_size + 4;
    return size;
}

static inline char *field_put(char *to, const unsigned char *text, size_t n, const char *two) {
    if (n) memcpy(to, text, n);
    memcpy(to + n, two, 2);
    return to + n + 2;
}

/* Writes some fields as lines; returns the end. There is room for `field_lines_size` bytes. */
static inline char *field_lines_put(char *to, const message_field *const *fields, size_t count) {
    for (size_t at = 0; at < count; at++) {
        to = field_put(to, fields[at]->name, fields[at]->name_size, ": ");
        to = field_put(to, fields[at]->value, fields[at]->value_size, "\r\n");
    }
    return to;
}

#endif
