"""The C interface of proofs: for the gate, and for the data path, which makes them."""

from libc.stdint cimport int64_t


cdef extern from "proof_target.h" nogil:
    ctypedef struct target_origin:
        const unsigned char *text
        size_t size
        const char *default_port


# Return the 32 bytes of 43 characters of canonical base64url; raise ValueError.
cdef bytes digest_of(str text)


# Where a listener gets its requests, as proofs name it.
cdef class Origin:
    cdef readonly bytes text
    cdef target_origin target


# The key that a bound token demands (RFC 7800).
cdef class KeyBinding:
    cdef readonly bytes thumbprint      # of the key, 32 bytes
    cdef bytes token_hash               # `ath` of proofs with this token
    cdef bytes header                   # the first segment of a proof that had the key, or None
    cdef object p256                    # the key of `header`, unless it is an Ed25519 key
    cdef bytes ed25519                  # 32 bytes

    cdef int read_header(self, const unsigned char *text, size_t n) except -1
    cdef bint signed(self, const unsigned char *joined, size_t n) except -1


# The proof of one request. `is_remembered`: its id is in the table, so a second verdict about the
# same request is no replay.
cdef class Proof:
    cdef readonly bytes text
    cdef bytes method, path
    cdef Origin origin
    cdef bint is_remembered
    cdef bint is_bad                    # an earlier verdict about the request has found it so
    cdef object claims                  # ProofClaims, once the signature was good

    # Return None if the proof is good, else the Reason. `now` is in seconds since the epoch.
    cdef object fault(self, KeyBinding binding, int64_t now)

    cdef int read(self, KeyBinding binding, int64_t now) except -1
    cdef bint is_about_request(self, object claims, KeyBinding binding, int64_t now) except -1
