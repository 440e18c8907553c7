"""The C interface of the digests of calls."""

from libc.stdint cimport uint64_t

from crewgate._native.rules cimport cg_digester


cdef class CallDigester:
    cdef cg_digester digester               # without the key
    cdef tuple names                        # of its members that are left out, as UTF-8

    cdef uint64_t digest(self, const uint64_t *key, const unsigned char *method, size_t method_size,
                         const unsigned char *path, size_t path_size, const unsigned char *query,
                         size_t query_size, const unsigned char *body, size_t body_size) noexcept


# Return the digest of an answer's body, with the key of a table.
cdef uint64_t answer_digest(const uint64_t *key, const unsigned char *body, size_t size) noexcept
