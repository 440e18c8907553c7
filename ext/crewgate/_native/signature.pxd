# The C face of `signature`: for the gate, which calls it with the GIL released.

# Return 1 if the first 64 of `n` bytes sign the rest under `public` (32 bytes), else 0. One buffer
# (signature, then message) is what libsodium's `crypto_sign_open` reads; PyNaCl 1.6 binds no
# detached form.
cdef int verify_joined(
    const unsigned char* joined, size_t n, const unsigned char* public
) noexcept nogil

# BLAKE2b with 16 bytes of output, no key (RFC 7693): equal to hashlib's blake2b(digest_size=16).
cdef void blake2b16(const unsigned char* data, size_t n, unsigned char* out16) noexcept nogil
