/* Splits a compact JWS (RFC 7515, section 7.1), without its key.
 *
 * It accepts one form only: three canonical base64url segments, at most TOKEN_BYTES_MAX bytes in
 * all, a header of exactly {alg, typ, kid}. It decodes the payload but does not read it: the
 * signature must be verified first. */
#ifndef CREWGATE_COMPACT_JWS_H
#define CREWGATE_COMPACT_JWS_H

#include <stddef.h>
#include <string.h>

#include "base64url.h"
#include "claim_text.h"
#include "strict_json.h"
#include "token_bounds.h"

enum { SIGNATURE_BYTES = 64, SIGNATURE_CHARS = 86 };

typedef struct {
    size_t kid_size, payload_size, joined_size;
    unsigned char kid[CLAIM_CHARS_MAX];
    unsigned char payload[TOKEN_BYTES_MAX / 4 * 3 + 3];
    /* Signature, then signing input: the order in which libsodium reads them. */
    unsigned char joined[SIGNATURE_BYTES + TOKEN_BYTES_MAX];
} jws_parts;

static inline int jws_equal(const unsigned char *text, size_t n, const char *word) {
    return n == strlen(word) && memcmp(text, word, n) == 0;
}

/* Checks a member of the header; its bit, or 0 if it is not allowed. */
static int jws_member(json_text *t, jws_parts *parts) {
    unsigned char name[TOKEN_BYTES_MAX], text[TOKEN_BYTES_MAX], *end;
    if (!json_take(t, '"') || (end = json_string(t, name)) == NULL) return 0;
    size_t size = (size_t)(end - name);
    if (!json_take(t, ':') || !json_take(t, '"') || (end = json_string(t, text)) == NULL) return 0;
    size_t n = (size_t)(end - text);
    if (jws_equal(name, size, "alg"))
        /* RFC 8037 and RFC 9864: two names of one algorithm. */
        return jws_equal(text, n, "EdDSA") || jws_equal(text, n, "Ed25519") ? 1 : 0;
    if (jws_equal(name, size, "typ")) return jws_equal(text, n, "at+jwt") ? 2 : 0;
    if (!jws_equal(name, size, "kid") || !claim_is_text(text, n)) return 0;
    memcpy(parts->kid, text, n);
    parts->kid_size = n;
    return 4;
}

/* 1 if the header is exactly {alg, typ, kid}, each once, in any order. */
static int jws_header(const unsigned char *text, size_t n, jws_parts *parts) {
    json_text t = {text, text + n};
    int seen = 0;
    if (!json_take(&t, '{')) return 0;
    do {
        int member = jws_member(&t, parts);
        if (member == 0 || seen & member) return 0;
        seen |= member;
    } while (json_take(&t, ','));
    if (seen != 7 || !json_take(&t, '}')) return 0;
    json_skip_blank(&t);
    return t.at == t.end;
}

/* The lengths of the first two segments; the third is a signature of 64 bytes. */
typedef struct {
    size_t header, payload;
} jws_lengths;

/* Finds the three segments of a text of at most `max` bytes; 0 if it has another form. */
static int jws_measure(const unsigned char *text, size_t n, size_t max, jws_lengths *found) {
    if (n > max || n < SIGNATURE_CHARS + 4) return 0;
    size_t input = n - SIGNATURE_CHARS - 1;
    if (text[input] != '.') return 0;
    const unsigned char *dot = memchr(text, '.', input);
    if (dot == NULL || dot == text || dot + 1 == text + input) return 0;
    found->header = (size_t)(dot - text);
    found->payload = input - found->header - 1;
    return 1;
}

/* Writes the signature and then the signing input to `joined`; 0 if the form is not canonical. A dot
 * is outside the alphabet, so a fourth segment is refused as well. */
static int jws_join(const unsigned char *text, jws_lengths lengths, unsigned char *joined) {
    size_t input = lengths.header + 1 + lengths.payload;
    memcpy(joined + SIGNATURE_BYTES, text, input);
    return base64url_decode(text + input + 1, SIGNATURE_CHARS, joined) == 0;
}

/* Fills `parts`; 1 if the form is canonical, else 0. Cheapest checks first. */
static int jws_split(const unsigned char *token, size_t n, jws_parts *parts) {
    unsigned char header[TOKEN_BYTES_MAX / 4 * 3 + 3];
    jws_lengths lengths;
    if (!jws_measure(token, n, TOKEN_BYTES_MAX, &lengths) ||
        !jws_join(token, lengths, parts->joined) ||
        base64url_decode(token, lengths.header, header) != 0 ||
        !jws_header(header, base64url_size(lengths.header), parts) ||
        base64url_decode(token + lengths.header + 1, lengths.payload, parts->payload) != 0)
        return 0;
    parts->payload_size = base64url_size(lengths.payload);
    parts->joined_size = SIGNATURE_BYTES + lengths.header + 1 + lengths.payload;
    return 1;
}

#endif
