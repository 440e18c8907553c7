# The C face of `token`: what the gate needs to judge without making Python objects on the way.

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

# 1 if the form of `token` is canonical, else 0; `parts` is then undefined.
cdef int split_parts(const unsigned char* token, size_t n, jws_parts* parts) noexcept nogil

# The Claims of a payload whose signature was good, and their ids; raises MalformedTokenError.
cdef object decode(const unsigned char* payload, size_t n, Ids* ids)

# The 16 bytes of a lower-case hyphenated UUID that is not nil; 1 or 0.
cdef int uuid_bytes(const unsigned char* text, size_t n, unsigned char* out16) noexcept nogil

# Whether a valid pattern of `allowed_tools` covers a valid tool name; 1 or 0.
cdef int tool_matches(
    const unsigned char* pattern, size_t n, const unsigned char* tool, size_t m
) noexcept nogil

# The characters of an ASCII `str`, valid as long as it lives; NULL for any other object.
cdef const unsigned char* ascii_text(object text, size_t* n) noexcept
