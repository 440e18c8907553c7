# The C interface of `token`, with which the gate decides without making Python objects.

cdef extern from "compact_jws.h" nogil:
    # `joined` (signature, then signing input) is what `signature.verify_joined` reads.
    ctypedef struct jws_parts:
        size_t kid_size, payload_size, joined_size
        unsigned char kid[128]
        unsigned char payload[3075]
        unsigned char joined[4160]

# The ids of a token's claims as 16 bytes each: the branch, and its ancestors, root first.
cdef struct Ids:
    unsigned char branch[16]
    size_t depth
    unsigned char path[8][16]

# Return 1 if the form of `token` is canonical, else 0; `parts` is then undefined.
cdef int split_parts(const unsigned char* token, size_t n, jws_parts* parts) noexcept nogil

# Return the Claims of a payload with a good signature, and their ids; raise MalformedTokenError.
cdef object decode(const unsigned char* payload, size_t n, Ids* ids)

# Write the 16 bytes of a lower-case hyphenated UUID; return 0 if it is nil or malformed, else 1.
cdef int uuid_bytes(const unsigned char* text, size_t n, unsigned char* out16) noexcept nogil

# Return 1 if a valid pattern of `allowed_tools` covers a valid tool name, else 0.
cdef int tool_matches(
    const unsigned char* pattern, size_t n, const unsigned char* tool, size_t m
) noexcept nogil

# Return 1 if a valid pattern covers anything that an endpoint of this name may have, else 0.
cdef int pattern_reaches(
    const unsigned char* pattern, size_t n, const unsigned char* endpoint, size_t m
) noexcept nogil

# Return the characters of an ASCII `str`, valid as long as it lives; NULL for any other object.
cdef const unsigned char* ascii_text(object text, size_t* n) noexcept

# Return whether one of the patterns covers a name, as UTF-8.
cdef bint covers_name(tuple patterns, const unsigned char *name, size_t n)
