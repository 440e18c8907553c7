/* SipHash-1-3 (Aumasson and Bernstein 2012), as in CPython and Rust: a hash with a secret key, so that
 * a client who chooses the texts cannot make them collide. */
#ifndef CREWGATE_SIP_HASH_H
#define CREWGATE_SIP_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t v0, v1, v2, v3;
    uint64_t word;  /* bytes that do not fill a word yet, the first one lowest */
    uint64_t bytes; /* added so far */
} sip_state;

static inline uint64_t sip_rotate(uint64_t word, int bits) {
    return word << bits | word >> (64 - bits);
}

static inline void sip_round(sip_state *s) {
    s->v0 += s->v1;
    s->v1 = sip_rotate(s->v1, 13) ^ s->v0;
    s->v0 = sip_rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = sip_rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = sip_rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = sip_rotate(s->v1, 17) ^ s->v2;
    s->v2 = sip_rotate(s->v2, 32);
}

static inline void sip_word(sip_state *s, uint64_t word) {
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static inline void sip_start(sip_state *s, const uint64_t key[2]) {
    s->v0 = key[0] ^ 0x736f6d6570736575ull;
    s->v1 = key[1] ^ 0x646f72616e646f6dull;
    s->v2 = key[0] ^ 0x6c7967656e657261ull;
    s->v3 = key[1] ^ 0x7465646279746573ull;
    s->word = s->bytes = 0;
}

static inline void sip_add(sip_state *s, const unsigned char *data, size_t n) {
    for (; n && s->bytes % 8; n--) { /* to the end of a word */
        s->word |= (uint64_t)*data++ << 8 * (s->bytes++ % 8);
        if (s->bytes % 8 == 0) sip_word(s, s->word), s->word = 0;
    }
    for (; n >= 8; n -= 8, data += 8, s->bytes += 8) {
        uint64_t word;
        memcpy(&word, data, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        sip_word(s, word);
    }
    for (; n; n--) s->word |= (uint64_t)*data++ << 8 * (s->bytes++ % 8);
}

static inline uint64_t sip_end(sip_state *s) {
    sip_word(s, s->word | s->bytes << 56);
    s->v2 ^= 0xff;
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

#endif
