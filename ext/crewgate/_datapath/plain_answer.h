/* Reads an answer of HTTP/1.1 that is plain: one that can be framed in one way only (RFC 9112).
 *
 * A plain answer has a final status other than 205, fields in strict syntax, and one of these: a
 * Content-Length, `Transfer-Encoding: chunked` without trailers, or no body because of its status
 * or because the request was a HEAD.
 * An answer that is not plain may be right: a complete parser then reads it from its first byte.
 *
 * The bytes of an answer are in one buffer that grows. The reader keeps offsets into it and goes on
 * where it stopped. So it looks at each byte once, in however many pieces the answer arrives.
 *
 * The functions that read a part of an answer return 0 if the answer is not plain. */
#ifndef CREWGATE_ANSWER_HEAD_H
#define CREWGATE_ANSWER_HEAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    ANSWER_FIELDS_MAX = 64,
    ANSWER_CHUNKS_MAX = 64,
    ANSWER_HEAD_BYTES_MAX = 16384, /* including the empty line */
    ANSWER_STATUS_BYTES = 13,      /* "HTTP/1.1 200 " */
    ANSWER_KEEP_SECONDS_MAX = 86400,
};

typedef enum {
    ANSWER_NOT_PLAIN = -1,
    ANSWER_INCOMPLETE = 0,
    ANSWER_COMPLETE = 1,
} answer_state;

typedef struct {
    uint32_t begin, size;
} answer_slice;

typedef struct {
    answer_slice name, value; /* the name as it came, the value without blanks around it */
} answer_field;

typedef struct {
    /* Set by answer_begin. */
    uint32_t body_bytes_max;
    int is_for_head; /* the request was a HEAD */
    /* Where the reader stands: the line begins at `line`, and all before `scanned` was looked at. */
    uint32_t line, scanned;
    int has_head; /* the head is complete; `line` is then the first byte after it */
    int has_length, is_chunked, has_keep, is_complete;
    uint32_t length; /* of the body, from Content-Length */
    /* The parts of the answer. */
    int status;
    int closes; /* the server closes the connection after this answer */
    uint32_t keep_seconds; /* how long the server keeps the connection unused; 0: it did not say */
    uint32_t field_count, chunk_count, body_size;
    answer_field fields[ANSWER_FIELDS_MAX];
    answer_slice chunks[ANSWER_CHUNKS_MAX]; /* the body, in pieces */
} plain_answer;

static inline void answer_begin(plain_answer *a, uint32_t body_bytes_max, int is_for_head) {
    /* The arrays are valid up to their counts. */
    memset(a, 0, offsetof(plain_answer, fields));
    a->body_bytes_max = body_bytes_max;
    a->is_for_head = is_for_head;
}

/* Returns whether a byte may stand in a token (RFC 9110 section 5.6.2). */
static inline int answer_is_token(unsigned char c) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return 1;
    return c != 0 && memchr(others, c, sizeof others - 1) != NULL;
}

/* Returns whether `text` is `word`, which is in lower case; the case of `text` does not count. */
static inline int answer_is(const uint8_t *text, size_t n, const char *word) {
    for (size_t at = 0; at < n; at++) {
        uint8_t c = text[at] >= 'A' && text[at] <= 'Z' ? text[at] | 0x20 : text[at];
        if (!word[at] || c != (uint8_t)word[at]) return 0;
    }
    return word[n] == '\0';
}

/* Returns a number without sign, blanks or needless zeros, at most `max`; -1 for other text. */
static inline int64_t answer_number(const uint8_t *text, size_t n, uint32_t max) {
    uint64_t value = 0;
    if (n == 0 || n > 10 || (n > 1 && text[0] == '0')) return -1;
    for (size_t at = 0; at < n; at++) {
        if (text[at] < '0' || text[at] > '9') return -1;
        value = value * 10 + (uint64_t)(text[at] - '0');
    }
    return value <= max ? (int64_t)value : -1;
}

/* Returns N of "timeout=N" in a Keep-Alive field (RFC 2068 section 19.7.1.1); 0 without it. */
static inline uint32_t answer_keep_seconds(const uint8_t *text, size_t n) {
    size_t at = 0;
    while (at < n) {
        size_t end = at;
        while (end < n && text[end] != ',') end++;
        while (at < end && (text[at] == ' ' || text[at] == '\t')) at++;
        size_t last = end;
        while (last > at && (text[last - 1] == ' ' || text[last - 1] == '\t')) last--;
        if (last - at > 8 && answer_is(text + at, 8, "timeout=")) {
            int64_t seconds = answer_number(text + at + 8, last - at - 8, ANSWER_KEEP_SECONDS_MAX);
            if (seconds > 0) return (uint32_t)seconds;
        }
        at = end + 1;
    }
    return 0;
}

/* Reads the first line, without its CRLF. */
static inline int answer_status_line(plain_answer *a, const uint8_t *text, size_t n) {
    if (n < ANSWER_STATUS_BYTES || text[ANSWER_STATUS_BYTES - 1] != ' ') return 0;
    a->status = (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
    /* A 205 has no body, however it is framed (RFC 9110 section 15.3.6). */
    return a->status >= 200 && a->status <= 599 && a->status != 205;
}

/* Reads a field that frames the answer or keeps the connection.
 *
 * `padded` is the size of the value with the blanks at its end, which parsers judge differently. */
static inline int answer_framing(
    plain_answer *a, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size,
    size_t padded) {
    if (answer_is(name, name_size, "content-length")) {
        int64_t length = answer_number(value, padded, a->body_bytes_max);
        if (a->has_length || length < 0) return 0;
        a->has_length = 1, a->length = (uint32_t)length;
    } else if (answer_is(name, name_size, "transfer-encoding")) {
        if (a->is_chunked || !answer_is(value, padded, "chunked")) return 0;
        a->is_chunked = 1;
    } else if (answer_is(name, name_size, "connection")) {
        if (answer_is(value, padded, "close")) a->closes = 1;
        else if (!answer_is(value, padded, "keep-alive")) return 0;
    } else if (answer_is(name, name_size, "keep-alive")) {
        if (a->has_keep) return 0; /* the first one counts */
        a->has_keep = 1, a->keep_seconds = answer_keep_seconds(value, size);
    } else if (answer_is(name, name_size, "content-type")) {
        /* The events of a stream are not to wait for its end. */
        return !(size >= 17 && answer_is(value, 17, "text/event-stream"));
    } else {
        return !answer_is(name, name_size, "trailer") && !answer_is(name, name_size, "upgrade") &&
               !answer_is(name, name_size, "proxy-connection");
    }
    return 1;
}

/* Reads the line of a field, without its CRLF. */
static inline int answer_field_line(plain_answer *a, const uint8_t *data, uint32_t n) {
    const uint8_t *text = data + a->line;
    uint32_t colon = 0;
    while (colon < n && answer_is_token(text[colon])) colon++;
    if (colon == 0 || colon == n || text[colon] != ':') return 0;
    if (a->field_count == ANSWER_FIELDS_MAX) return 0;
    uint32_t begin = colon + 1, end = n;
    while (begin < n && (text[begin] == ' ' || text[begin] == '\t')) begin++;
    while (end > begin && (text[end - 1] == ' ' || text[end - 1] == '\t')) end--;
    answer_field *field = &a->fields[a->field_count++];
    field->name = (answer_slice){a->line, colon};
    field->value = (answer_slice){a->line + begin, end - begin};
    return answer_framing(a, text, colon, text + begin, end - begin, n - begin);
}

/* Decides at the end of the head how the body ends. An answer to a HEAD has none. */
static inline int answer_end_of_head(plain_answer *a) {
    a->has_head = 1;
    /* A body that is announced where none may be can come and answer the next request. */
    if (a->status == 204 || a->status == 304) return !a->is_chunked && !a->length;
    if (a->is_for_head) {
        if (a->has_length && a->is_chunked) return 0;
        /* Some servers send a body all the same. Unless the head announces an empty one, the
         * connection is not used again. */
        if (!a->has_length || a->length) a->closes = 1;
        a->length = 0, a->is_chunked = 0;
        return 1;
    }
    return a->has_length != a->is_chunked;
}

/* Reads the head in the first `n` bytes, line by line. */
static inline answer_state answer_read_head(plain_answer *a, const uint8_t *data, uint32_t n) {
    static const char start[] = "HTTP/1.1 ";
    for (; a->scanned < n; a->scanned++) {
        uint8_t c = data[a->scanned];
        uint32_t at = a->scanned;
        if (at >= ANSWER_HEAD_BYTES_MAX) return ANSWER_NOT_PLAIN;
        if (at < sizeof start - 1 ? c != (uint8_t)start[at] : at < 12 && (c < '0' || c > '9'))
            return ANSWER_NOT_PLAIN;
        if (c == '\n') {
            if (at == a->line || data[at - 1] != '\r') return ANSWER_NOT_PLAIN;
            uint32_t size = at - 1 - a->line;
            if (!a->status) {
                if (!answer_status_line(a, data, size)) return ANSWER_NOT_PLAIN;
            } else if (size) {
                if (!answer_field_line(a, data, size)) return ANSWER_NOT_PLAIN;
            } else if (!answer_end_of_head(a)) {
                return ANSWER_NOT_PLAIN;
            }
            a->line = at + 1;
            if (a->has_head) {
                a->scanned = a->line;
                return ANSWER_COMPLETE;
            }
        } else if (at > a->line && data[at - 1] == '\r') {
            return ANSWER_NOT_PLAIN; /* a carriage return alone */
        } else if ((c < ' ' && c != '\t' && c != '\r') || c == 0x7f) {
            return ANSWER_NOT_PLAIN;
        }
    }
    return ANSWER_INCOMPLETE;
}

/* Reads the line with the size of a chunk, from `line` on.
 *
 * Sets `size`, and `after`: where the line ends. */
static inline answer_state answer_chunk_line(
    const plain_answer *a, const uint8_t *data, uint32_t n, uint32_t *size, uint32_t *after) {
    uint32_t value = 0, at = a->line;
    for (; at < n; at++) {
        uint8_t c = data[at];
        uint32_t digit;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') digit = (c | 0x20) - 'a' + 10;
        else break;
        if (at - a->line >= 7) return ANSWER_NOT_PLAIN;
        value = value << 4 | digit;
    }
    if (at == n) return ANSWER_INCOMPLETE;
    if (at == a->line || data[at] != '\r') return ANSWER_NOT_PLAIN;
    if (at + 1 == n) return ANSWER_INCOMPLETE;
    if (data[at + 1] != '\n') return ANSWER_NOT_PLAIN;
    *size = value, *after = at + 2;
    return ANSWER_COMPLETE;
}

/* Reads a chunked body, whose next chunk begins at `line`. */
static inline answer_state answer_read_chunks(plain_answer *a, const uint8_t *data, uint32_t n) {
    for (;;) {
        uint32_t size = 0, after = 0;
        answer_state state = answer_chunk_line(a, data, n, &size, &after);
        if (state != ANSWER_COMPLETE) return state;
        if (size > a->body_bytes_max - a->body_size || (size && a->chunk_count == ANSWER_CHUNKS_MAX))
            return ANSWER_NOT_PLAIN;
        uint32_t end = after + size; /* of the data; a CRLF follows */
        if (n > end && data[end] != '\r') return ANSWER_NOT_PLAIN; /* or a trailer */
        if (n < end + 2) return ANSWER_INCOMPLETE;
        if (data[end + 1] != '\n') return ANSWER_NOT_PLAIN;
        a->line = end + 2;
        if (!size) return n == a->line ? ANSWER_COMPLETE : ANSWER_NOT_PLAIN;
        a->chunks[a->chunk_count++] = (answer_slice){after, size};
        a->body_size += size;
    }
}

/* Reads on in `data`, the first `n` bytes of the answer: all of it that has arrived.
 *
 * Bytes after the end of the answer make it not plain, since they answer no request. After
 * ANSWER_NOT_PLAIN the fields of `a` mean nothing. */
static inline answer_state answer_read(plain_answer *a, const uint8_t *data, uint32_t n) {
    if (a->is_complete) return ANSWER_NOT_PLAIN;
    if (!a->has_head) {
        answer_state state = answer_read_head(a, data, n);
        if (state != ANSWER_COMPLETE) return state;
    }
    if (a->is_chunked) {
        answer_state state = answer_read_chunks(a, data, n);
        a->is_complete = state == ANSWER_COMPLETE;
        return state;
    }
    uint32_t arrived = n - a->line;
    if (arrived > a->length) return ANSWER_NOT_PLAIN;
    if (arrived < a->length) return ANSWER_INCOMPLETE;
    if (a->length) {
        a->chunks[0] = (answer_slice){a->line, a->length};
        a->chunk_count = 1;
    }
    a->body_size = a->length;
    a->is_complete = 1;
    return ANSWER_COMPLETE;
}

#endif
