"""The C interface of the search for a token."""

from crewgate._native.fields cimport message_field, name_set

cdef extern from "bearer.h" nogil:
    ctypedef struct bearer_search:
        bint has_authorization
        bint is_dpop
        const unsigned char *token
        size_t size
        const unsigned char *proof
        size_t proof_size

    bint bearer_in_query(const unsigned char *query, size_t n) noexcept
    bint bearer_take(bearer_search *search, bint is_authorization, const unsigned char *value,
                     size_t n) noexcept
    bint bearer_take_proof(bearer_search *search, const unsigned char *value, size_t n) noexcept

# Return the proof that came with the DPoP scheme; None with another scheme.
cdef bytes proof_of(const bearer_search *found)


cdef class TokenFinder:
    cdef name_set names
    cdef frozenset carriers                 # keeps the names

    # Search the fields and the query of a request; False if it is invalid. If there is no token,
    # `search.token` is NULL; otherwise it is a slice of a field's value.
    cdef bint search(self, const message_field *fields, size_t count, const unsigned char *query,
                     size_t query_size, bearer_search *search) noexcept nogil
